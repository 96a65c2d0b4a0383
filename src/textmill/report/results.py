"""All numbers of a rebuild in one place."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from textmill.base import paths
from textmill.base.errors import UserError
from textmill.base.files import read_json
from textmill.base.tables import read_table
from textmill.evaluate.metrics import METRICS
from textmill.evaluate.metrics.interface import Metric, predictions_of, remembering, resamplings
from textmill.evaluate.significance import Difference, paired_difference
from textmill.report.slices import Slice, all_slices
from textmill.tasks.settings import Tasks, TaskSettings, by_stored_name


@dataclass(frozen=True)
class Comparison:
    """first against second on one metric, by paired bootstrap. A positive difference means that the first is better."""

    first: str
    second: str
    metric: str
    result: Difference


@dataclass(frozen=True)
class TaskResults:
    """The results of one task.

    name: of the task in tables. task: its settings. systems: scores of every system, baselines included.
    labels: of a classification, in the order of their probabilities; else empty.
    test: its rows of the test set, in the order of the predictions. exported_against_baselines: for the page alone.
    slices: scores of the exported model and of `memory`, by grouping.
    """

    name: str
    task: TaskSettings
    systems: dict[str, dict[str, Any]]
    predictions: dict[str, pd.DataFrame]
    comparisons: list[Comparison]
    exported_against_baselines: list[Comparison]
    test: pd.DataFrame
    slices: dict[str, list[Slice]]
    labels: list[str]

    @property
    def metric(self) -> str:
        """The deciding metric."""
        return self.task.special.metrics[0]

    @property
    def baselines(self) -> tuple[str, ...]:
        """The names of the baselines."""
        return self.task.special.baselines

    @property
    def memory(self) -> str:
        """The baseline whose outputs are shown beside those of the models."""
        return "translation_memory" if "translation_memory" in self.baselines else self.baselines[0]

    @property
    def is_higher_better(self) -> bool:
        """Whether the larger of two scores of the deciding metric is the better one."""
        return METRICS[self.metric](self.task.languages.target_language).higher_is_better

    def best(self, names: Iterable[str]) -> str | None:
        """Return the system with the best score in the deciding metric; None if none has one."""
        sign = 1 if self.is_higher_better else -1
        scored = [name for name in names if self.metric in self.systems[name]]
        return max(scored, key=lambda name: sign * float(self.systems[name][self.metric]["score"]), default=None)


@dataclass(frozen=True)
class Results:
    """What the stages before have written.

    histories: learning curves by model, columns of history.csv (None: no value). models: loss, parameters and size of every model.
    tasks: in the order of params.yaml. params, default_params: params.yaml and recipes/default.yaml, with all defaults.
    """

    corpus: dict[str, Any]
    clean_samples: dict[str, dict[str, list[dict[str, Any]]]]
    training: dict[str, dict[str, Any]]
    histories: dict[str, list[dict[str, float | None]]]
    export: dict[str, Any]
    models: dict[str, dict[str, Any]]
    tasks: list[TaskResults]
    params: dict[str, Any]
    default_params: dict[str, Any]


def read_results(folds: Sequence[int], tasks: Tasks, samples: int, seed: int) -> Results:
    """Read the outputs of all stages and compare the systems.

    Raises UserError if a file is missing or the systems were not scored on the same test examples.
    """
    names = [*(f"fold-{fold}" for fold in folds), "ensemble", "student", "pruned", "exported"]
    predictions = {name: read_table(paths.system_predictions(name)) for name in names}
    test = read_table(paths.TEST)
    for name, table in predictions.items():
        if table["id"].tolist() != test["id"].tolist():
            raise UserError(f"{paths.system_predictions(name)}: scored on another test set than {paths.TEST}. Run `dvc repro`.")
    models = {name: read_json(paths.system_metrics(name)) for name in names}
    baselines, baseline_outputs = read_json(paths.BASELINE_METRICS), read_table(paths.BASELINE_PREDICTIONS)
    predictions |= {name: baseline_outputs[baseline_outputs["system"] == name].drop(columns="system") for name in baselines}
    systems, labels = models | baselines, read_json(paths.LABELS)
    return Results(
        corpus={
            "collect": read_json(paths.COLLECT_METRICS),
            "clean": read_json(paths.CLEAN_METRICS),
            "split": read_json(paths.SPLIT_METRICS),
            "tokenizer": read_json(paths.TOKENIZER_METRICS),
            "encode": read_json(paths.ENCODE_METRICS),
        },
        clean_samples=read_json(paths.CLEAN_SAMPLES),
        training={
            **{f"fold-{fold}": read_json(paths.fold_metrics(fold)) for fold in folds},
            "student": read_json(paths.DISTILL_METRICS),
            "pruned": read_json(paths.PRUNE_METRICS),
        },
        histories={
            **{f"fold-{fold}": _history(paths.fold_history(fold)) for fold in folds},
            "student": _history(paths.STUDENT_HISTORY),
            "pruned": _history(paths.PRUNE_HISTORY),
        },
        export=read_json(paths.EXPORT_METRICS),
        models=models,
        tasks=[
            replace(task_results(name, task, test, systems, predictions, samples, seed), labels=labels.get(name, []))
            for name, task in by_stored_name(tasks).items()
        ],
        params=read_json(paths.SETTINGS),
        default_params=read_json(paths.DEFAULT_SETTINGS),
    )


def task_results(
    name: str,
    task: TaskSettings,
    test: pd.DataFrame,
    systems: Mapping[str, dict[str, Any]],
    predictions: Mapping[str, pd.DataFrame],
    samples: int,
    seed: int,
) -> TaskResults:
    """Compare the systems on one task.

    name: of the task in tables. systems, predictions: of all tasks, by system; baselines of other tasks are left out.
    """
    chosen = [system for system in systems if system in task.special.baselines or "size_bytes" in systems[system]]
    own = {system: _of_task(systems[system], name) for system in chosen}
    tables = {system: _rows_of(predictions[system], name) for system in chosen}
    rows = _rows_of(test, name)
    compare = _Comparing(task, tables, len(rows), samples, seed)
    results = TaskResults(name, task, own, tables, [], [], rows, {}, [])
    best_fold = results.best(system for system in chosen if system.startswith("fold-")) or "fold-0"
    chain = [("ensemble", best_fold), ("student", best_fold), ("pruned", "student"), ("exported", "pruned"), ("exported", "student")]
    against = [baseline for baseline in results.baselines if baseline in own]
    return replace(
        results,
        comparisons=compare.pairs([*(("student", baseline) for baseline in against), *chain]),
        exported_against_baselines=compare.pairs([("exported", baseline) for baseline in against]),
        slices=compare.slices("exported", results.memory, rows),
    )


def _of_task(metrics: dict[str, Any], task: str) -> dict[str, Any]:
    """Return the scores of a system on one task, with its size."""
    if "tasks" not in metrics:
        return metrics
    size = {"size_bytes": metrics["size_bytes"]} if "size_bytes" in metrics else {}
    return {**metrics["tasks"][task], **size}


def _rows_of(table: pd.DataFrame, task: str) -> pd.DataFrame:
    return table[table["task"] == task].reset_index(drop=True)


class _Comparing:
    """The compared metrics of a task, with the predictions of all systems."""

    def __init__(self, task: TaskSettings, tables: Mapping[str, pd.DataFrame], rows: int, samples: int, seed: int) -> None:
        language = task.languages.target_language
        self.metrics = {name: remembering(METRICS[name](language)) for name in task.special.compared}
        self.scored = {
            name: predictions_of(table["source"].tolist(), table["hypothesis"].tolist(), table["reference"].tolist())
            for name, table in tables.items()
        }
        self.weights, self.samples, self.seed = resamplings(rows, samples, seed), samples, seed

    def pairs(self, pairs: Sequence[tuple[str, str]]) -> list[Comparison]:
        """Compare pairs of systems on all compared metrics."""
        return [
            Comparison(
                first, second, name, _better(metric, paired_difference(metric, self.scored[first], self.scored[second], self.weights))
            )
            for first, second in pairs
            for name, metric in self.metrics.items()
        ]

    def slices(self, system: str, other: str, test: pd.DataFrame) -> dict[str, list[Slice]]:
        """Score two systems on parts of the test set, in the first compared metric. Empty if there is none."""
        for metric in self.metrics.values():
            return all_slices(metric, test, self.scored[system], self.scored[other], self.samples, self.seed)
        return {}


def _better(metric: Metric, result: Difference) -> Difference:
    """Return the difference with the sign of an improvement."""
    if metric.higher_is_better:
        return result
    return replace(result, difference=-result.difference, low=-result.high, high=-result.low)


def _history(path: Path) -> list[dict[str, float | None]]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return [{name: float(value) if value else None for name, value in row.items()} for row in csv.DictReader(file)]
    except FileNotFoundError:
        raise UserError(f"{path}: no such file. Run `dvc repro` or `dvc checkout` to make it.") from None
