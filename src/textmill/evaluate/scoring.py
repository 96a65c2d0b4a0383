"""Score the outputs of a system on the test set, each task by the metrics of its kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa

from textmill.base.errors import UserError
from textmill.evaluate.metrics import METRICS
from textmill.evaluate.metrics.interface import Metric, Predictions, measure, remembering, resamplings
from textmill.tasks.settings import UNNAMED, Tasks, by_stored_name

# score: deciding metric of the row alone. probabilities: of the labels, in their order; empty for other kinds of task.
PREDICTION_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("task", pa.string()),
        ("source", pa.string()),
        ("reference", pa.string()),
        ("hypothesis", pa.string()),
        ("score", pa.float64()),
        ("probabilities", pa.list_(pa.float64())),
    ]
)
BASELINE_SCHEMA = PREDICTION_SCHEMA.append(pa.field("system", pa.string()))


class Evaluation(NamedTuple):
    """What systems are scored on.

    test: columns id, source, target and task. tasks, labels, training_texts: by the name of the task in tables. labels: of the tasks that
    have some. training_texts: targets of the development pairs.
    samples, seed: number of bootstrap resamplings, and their seed.
    """

    test: pd.DataFrame
    tasks: Tasks
    labels: Mapping[str, list[str]]
    training_texts: Mapping[str, list[str]]
    samples: int
    seed: int


def evaluation_of(
    test: pd.DataFrame, development: pd.DataFrame, tasks: Tasks, labels: Mapping[str, list[str]], samples: int, seed: int
) -> Evaluation:
    """Return what systems are scored on. tasks: as in params.yaml."""
    training_texts = {str(name): targets.tolist() for name, targets in development.groupby("task")["target"]}
    return Evaluation(test, by_stored_name(tasks), labels, training_texts, samples, seed)


class Outputs(NamedTuple):
    """The outputs of a system for the rows of a test set.

    probabilities: of the labels, for the rows of tasks with labels; else empty. log_probabilities: of the tokens of the reference and of
    END; None if the system cannot score texts.
    """

    texts: list[str]
    probabilities: list[list[float]]
    log_probabilities: list[list[float]] | None = None

    def at(self, rows: Sequence[int]) -> Outputs:
        """Return the outputs of some rows."""
        scored = None if self.log_probabilities is None else [self.log_probabilities[row] for row in rows]
        return Outputs([self.texts[row] for row in rows], [self.probabilities[row] for row in rows], scored)


def only_texts(texts: Sequence[str]) -> Outputs:
    """Return outputs without probabilities."""
    return Outputs(list(texts), [[] for _ in texts])


def score_outputs(evaluation: Evaluation, outputs: Outputs) -> tuple[dict[str, Any], pd.DataFrame]:
    """Score outputs, one per row of the test set.

    Returns a dict and a table with PREDICTION_SCHEMA in test order. The dict has `examples` and, for each metric of the kind that
    applies, {"score", "low", "high", "signature", "num_segments"}. With several tasks, `tasks` has such a dict for each.
    Raises UserError if the test set is empty.
    """
    test = evaluation.test
    if test.empty:
        raise UserError("the test set is empty. Raise split.test_share or use more data.")
    scores = np.full(len(test), np.nan)
    by_task: dict[str, dict[str, Any]] = {}
    for name, task in evaluation.tasks.items():
        rows = np.flatnonzero(test["task"] == name)
        predictions = predictions_of_task(evaluation, name, outputs.at(rows.tolist()))
        metrics = [remembering(METRICS[metric](task.languages.target_language)) for metric in task.special.metrics]
        by_task[name] = {"examples": len(rows)} | score_predictions(predictions, metrics, evaluation.samples, evaluation.seed)
        scores[rows] = row_scores(metrics[0], predictions)
    table = pd.DataFrame(
        {
            "id": test["id"],
            "task": test["task"],
            "source": test["source"],
            "reference": test["target"],
            "hypothesis": outputs.texts,
            "score": scores,
            "probabilities": outputs.probabilities,
        }
    )
    return (by_task[UNNAMED] if UNNAMED in by_task else {"examples": len(test), "tasks": by_task}), table


def predictions_of_task(evaluation: Evaluation, name: str, outputs: Outputs) -> Predictions:
    """Return the predictions for the rows of one task. name: of the task in tables. outputs: for its rows alone."""
    rows = evaluation.test[evaluation.test["task"] == name]
    labels = evaluation.labels.get(name, [])
    return Predictions(
        rows["source"].tolist(),
        outputs.texts,
        [(reference,) for reference in rows["target"]],
        np.array(outputs.probabilities) if labels and len(rows) and outputs.probabilities[0] else None,
        labels,
        evaluation.training_texts.get(name, []),
        outputs.log_probabilities,
    )


def score_predictions(predictions: Predictions, metrics: Sequence[Metric], samples: int, seed: int) -> dict[str, dict[str, Any]]:
    """Score predictions with all metrics. Leaves out those that do not apply."""
    weights = resamplings(len(predictions.sources), samples, seed)
    results = [measure(metric, predictions, weights) for metric in metrics]
    return {result.name: {key: value for key, value in asdict(result).items() if key != "name"} for result in results if result is not None}


def row_scores(metric: Metric, predictions: Predictions) -> np.ndarray:
    """Return the score of each row alone, (N,). NaN where the metric does not apply."""
    statistics = metric.statistics(predictions)
    return np.array([metric.score(statistics[row : row + 1]) for row in range(len(statistics))])
