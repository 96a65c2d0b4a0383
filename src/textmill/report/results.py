"""All numbers of a rebuild in one place."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from textmill.base import paths
from textmill.base.errors import UserError
from textmill.base.files import read_json
from textmill.base.tables import read_table
from textmill.evaluate.metrics import METRICS, Metric, resamplings
from textmill.evaluate.significance import Difference, paired_difference
from textmill.report.slices import Slice, all_slices
from textmill.settings.languages import LanguageSettings

BASELINES = ("copy", "translation_memory", "majority")
COMPARED_METRICS = ("chrf", "bleu")


@dataclass(frozen=True)
class Comparison:
    """first against second on one metric, by paired bootstrap."""

    first: str
    second: str
    metric: str
    result: Difference


@dataclass(frozen=True)
class Results:
    """What the stages before have written.

    histories: learning curves by model, columns of history.csv (None: no value). test: the test set, in the order of the predictions.
    exported_against_baselines: for the page alone. slices: chrF of the exported model and of the translation memory, by grouping.
    params, default_params: params.yaml and recipes/default.yaml, with all defaults.
    """

    corpus: dict[str, Any]
    clean_samples: dict[str, dict[str, list[dict[str, Any]]]]
    training: dict[str, dict[str, Any]]
    histories: dict[str, list[dict[str, float | None]]]
    export: dict[str, Any]
    systems: dict[str, dict[str, Any]]
    predictions: dict[str, pd.DataFrame]
    comparisons: list[Comparison]
    exported_against_baselines: list[Comparison]
    test: pd.DataFrame
    slices: dict[str, list[Slice]]
    params: dict[str, Any]
    default_params: dict[str, Any]


def read_results(folds: Sequence[int], languages: LanguageSettings, samples: int, seed: int) -> Results:
    """Read the outputs of all stages and compare the systems.

    Raises UserError if a file is missing or the systems were not scored on the same test examples.
    """
    names = [*(f"fold-{fold}" for fold in folds), "ensemble", "student", "pruned", "exported", *BASELINES]
    predictions = {name: read_table(paths.system_predictions(name)) for name in names}
    for name, table in predictions.items():
        if table["id"].tolist() != predictions["student"]["id"].tolist():
            raise UserError(f"{paths.system_predictions(name)}: scored on another test set than the student. Run `dvc repro`.")
    test = read_table(paths.TEST)
    if test["id"].tolist() != predictions["student"]["id"].tolist():
        raise UserError(f"{paths.TEST}: is not the test set that the systems were scored on. Run `dvc repro`.")
    systems = {name: read_json(paths.system_metrics(name)) for name in names}
    best_fold = max((f"fold-{fold}" for fold in folds), key=lambda name: float(systems[name]["chrf"]["score"]))
    pairs = [("student", baseline) for baseline in BASELINES]
    pairs += [("ensemble", best_fold), ("student", best_fold), ("pruned", "student"), ("exported", "pruned"), ("exported", "student")]
    weights = resamplings(len(predictions["student"]), samples, seed)
    metrics = {name: _remembering(METRICS[name](languages.target_language)) for name in COMPARED_METRICS}

    def compared(pairs: Sequence[tuple[str, str]]) -> list[Comparison]:
        return [
            Comparison(first, second, name, _compare(metric, predictions[first], predictions[second], weights))
            for first, second in pairs
            for name, metric in metrics.items()
        ]

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
        systems=systems,
        predictions=predictions,
        comparisons=compared(pairs),
        exported_against_baselines=compared([("exported", baseline) for baseline in BASELINES]),
        test=test,
        slices=all_slices(metrics["chrf"], test, predictions["exported"], predictions["translation_memory"], samples, seed),
        params=read_json(paths.SETTINGS),
        default_params=read_json(paths.DEFAULT_SETTINGS),
    )


def _compare(metric: Metric, first: pd.DataFrame, second: pd.DataFrame, weights: np.ndarray) -> Difference:
    texts = (tuple(first["source"]), tuple(first["hypothesis"]), tuple(second["hypothesis"]), tuple(first["reference"]))
    return paired_difference(metric, *texts, weights)


def _remembering(metric: Metric) -> Metric:
    """`metric`, which computes the statistics of a system (tuples of texts) once for all comparisons."""
    return replace(metric, statistics=cache(metric.statistics))


def _history(path: Path) -> list[dict[str, float | None]]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return [{name: float(value) if value else None for name, value in row.items()} for row in csv.DictReader(file)]
    except FileNotFoundError:
        raise UserError(f"{path}: no such file. Run `dvc repro` or `dvc checkout` to make it.") from None
