"""The numbers of a rebuild as files: a few for git and for comparisons, and all of them with intervals."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

from textmill.report.results import Results, TaskResults
from textmill.tasks.settings import UNNAMED

_MODELS = ("ensemble", "student", "pruned", "exported")
_SUMMED_UP = 2  # metrics per system
_DECIMALS = 2


def summary(results: Results) -> dict[str, Any]:
    """Scores, sizes in MB and rows, rounded to two decimals: metrics/summary.json, which git tracks.

    `metric` decides, so the best baseline is the best one in it. folds: mean and standard deviation over the fold models.
    With several tasks, `tasks` has the scores of each.
    """
    clean, split = results.corpus["clean"], results.corpus["split"]
    by_task = {each.name: _of_task(each) for each in results.tasks}
    return by_task.get(UNNAMED, {"tasks": by_task}) | {
        "leak": round(float(split["leak"]["invented"]), _DECIMALS),
        "rows": {
            "collected": clean["rows_in"],
            "clean": clean["rows_out"],
            "test": split["test"],
            "development": split["development"],
        },
    }


def statistics(results: Results) -> dict[str, Any]:
    """All scores with their intervals, all comparisons, and the checks of the export, unrounded: reports/statistics.json."""
    by_task = {each.name: _all_of_task(each) for each in results.tasks}
    return by_task.get(UNNAMED, {"tasks": by_task}) | {
        "models": {
            name: {key: metrics[key] for key in ("loss", "parameters", "size_bytes") if key in metrics}
            for name, metrics in results.models.items()
        },
        "leak": results.corpus["split"]["leak"],
        "export": {"size_ratio": results.export["size_ratio"], "parity": results.export["parity"]},
    }


def fold_spreads(results: TaskResults) -> dict[str, dict[str, float]]:
    """Mean and, of two folds or more, standard deviation of the fold models' scores, by metric."""
    folds = [metrics for name, metrics in results.systems.items() if name.startswith("fold-")]
    return {metric: _spread([float(each[metric]["score"]) for each in folds]) for metric in _summed_up(results) if metric in folds[0]}


def _of_task(results: TaskResults) -> dict[str, Any]:
    best = results.best(results.baselines)
    metric = results.metric
    return {
        "metric": metric,
        "systems": {
            name: _scores(results, name) | _megabytes(results.systems[name])
            for name in (*_MODELS, *results.baselines)
            if name in results.systems
        },
        "best_baseline": {metric: _scores(results, best)[metric]} if best else {},
        "folds": {
            metric: {name: round(value, _DECIMALS) for name, value in spread.items()} for metric, spread in fold_spreads(results).items()
        },
    }


def _all_of_task(results: TaskResults) -> dict[str, Any]:
    pairs = dict.fromkeys((each.first, each.second) for each in results.comparisons)
    return {
        "systems": {
            name: {metric: metrics[metric] for metric in results.task.special.metrics if metric in metrics}
            for name, metrics in results.systems.items()
        },
        "comparisons": {
            f"{first}-{second}": {
                each.metric: asdict(each.result) for each in results.comparisons if (each.first, each.second) == (first, second)
            }
            for first, second in pairs
        },
        "folds": fold_spreads(results),
    }


def _summed_up(results: TaskResults) -> tuple[str, ...]:
    return results.task.special.metrics[:_SUMMED_UP]


def _spread(scores: list[float]) -> dict[str, float]:
    spread = {"standard_deviation": float(np.std(scores, ddof=1))} if len(scores) > 1 else {}
    return {"mean": float(np.mean(scores))} | spread


def _scores(results: TaskResults, system: str) -> dict[str, float]:
    metrics = results.systems[system]
    return {metric: round(float(metrics[metric]["score"]), _DECIMALS) for metric in _summed_up(results) if metric in metrics}


def _megabytes(metrics: dict[str, Any]) -> dict[str, float]:
    return {"megabytes": round(metrics["size_bytes"] / 1e6, _DECIMALS)} if "size_bytes" in metrics else {}
