"""Baselines: systems without a neural network.

Each baseline writes outputs for a test set (columns source, task) from the development set (columns source, target, task).
A baseline uses only the development pairs with the task of the test row, or all of them if there are none with that task.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pandas as pd

from textmill.evaluate.extractive_baselines import best_sentence, extractive, lead_1, lead_3
from textmill.evaluate.linear_baseline import linear_predictions
from textmill.evaluate.scoring import Evaluation, Outputs, only_texts, score_outputs
from textmill.similarity.translation_memory import rows_by_task, translation_memory


def copy(development: pd.DataFrame, test: pd.DataFrame) -> list[str]:
    """Return the sources themselves."""
    return list(test["source"])


def majority(development: pd.DataFrame, test: pd.DataFrame) -> list[str]:
    """Return the most frequent development target for every row. Of equally frequent targets, take the first."""
    outputs = np.empty(len(test), dtype=object)
    for rows, candidates in rows_by_task(development, test):
        [(target, _)] = Counter(development["target"].iloc[candidates]).most_common(1)
        outputs[rows] = target
    return list(outputs)


def linear(development: pd.DataFrame, test: pd.DataFrame) -> list[str]:
    """Return the label that a linear support vector machine predicts (`linear_predictions`, which also has probabilities)."""
    return linear_predictions(development, test).outputs


BASELINES: dict[str, Callable[[pd.DataFrame, pd.DataFrame], list[str]]] = {
    "copy": copy,
    "translation_memory": translation_memory,
    "majority": majority,
    "lead_1": lead_1,
    "lead_3": lead_3,
    "extractive": extractive,
    "best_sentence": best_sentence,
    "linear": linear,
}


def score_baselines(evaluation: Evaluation, development: pd.DataFrame) -> tuple[dict[str, Any], pd.DataFrame]:
    """Score the baselines of every task, on the rows of the tasks that have them.

    Returns the scores by baseline, and the predictions of all of them with a column `system`.
    """
    names = dict.fromkeys(name for task in evaluation.tasks.values() for name in task.special.baselines)
    metrics, tables = {}, []
    for name in names:
        tasks = {stored: task for stored, task in evaluation.tasks.items() if name in task.special.baselines}
        test = evaluation.test[evaluation.test["task"].isin(list(tasks))].reset_index(drop=True)
        outputs = _outputs(name, tasks, development, test)
        metrics[name], table = score_outputs(evaluation._replace(test=test, tasks=tasks), outputs)
        tables.append(table.assign(system=name))
    return metrics, pd.concat(tables, ignore_index=True)


def _outputs(name: str, tasks: Iterable[str], development: pd.DataFrame, test: pd.DataFrame) -> Outputs:
    """Ask a baseline about each task alone: it may look at all texts that it is given, for example to tell their language."""
    texts, probabilities = np.empty(len(test), dtype=object), np.empty(len(test), dtype=object)
    for task in tasks:
        rows = np.flatnonzero(test["task"] == task)
        known, asked = (table[table["task"] == task].reset_index(drop=True) for table in (development, test))
        found = only_texts(BASELINES[name](known, asked)) if name != "linear" else _with_probabilities(known, asked)
        for row, text, each in zip(rows.tolist(), found.texts, found.probabilities, strict=True):
            texts[row], probabilities[row] = text, each
    return Outputs(texts.tolist(), probabilities.tolist())


def _with_probabilities(development: pd.DataFrame, test: pd.DataFrame) -> Outputs:
    found = linear_predictions(development, test)  # the only baseline with probabilities
    return Outputs(found.outputs, found.probabilities.tolist())
