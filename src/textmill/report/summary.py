"""The numbers of a rebuild as files: a few for git and for comparisons, and all of them with intervals."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

from textmill.evaluate.metrics import DEFAULT_METRICS
from textmill.report.results import BASELINES, COMPARED_METRICS, Results

_SYSTEMS = ("ensemble", "student", "pruned", "exported", *BASELINES)
_DECIMALS = 2


def summary(results: Results) -> dict[str, Any]:
    """Scores, sizes in MB and rows, rounded to two decimals: metrics/summary.json, which git tracks.

    The first metric decides, so the best baseline is the best one in it. folds: mean and standard deviation over the fold models.
    """
    clean, split = results.corpus["clean"], results.corpus["split"]
    best = max(BASELINES, key=lambda name: float(results.systems[name][COMPARED_METRICS[0]]["score"]))
    return {
        "systems": {name: _scores(results.systems[name]) | _megabytes(results.systems[name]) for name in _SYSTEMS},
        "best_baseline": {COMPARED_METRICS[0]: _scores(results.systems[best])[COMPARED_METRICS[0]]},
        "folds": {
            metric: {name: round(value, _DECIMALS) for name, value in spread.items()} for metric, spread in fold_spreads(results).items()
        },
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
    return {
        "systems": {
            name: {metric: metrics[metric] for metric in DEFAULT_METRICS if metric in metrics}
            | {key: metrics[key] for key in ("loss", "parameters", "size_bytes") if key in metrics}
            for name, metrics in results.systems.items()
        },
        "comparisons": {
            f"{first}-{second}": {
                each.metric: asdict(each.result) for each in results.comparisons if (each.first, each.second) == (first, second)
            }
            for first, second in dict.fromkeys((each.first, each.second) for each in results.comparisons)
        },
        "folds": fold_spreads(results),
        "leak": results.corpus["split"]["leak"],
        "export": {"size_ratio": results.export["size_ratio"], "parity": results.export["parity"]},
    }


def fold_spreads(results: Results) -> dict[str, dict[str, float]]:
    """Mean and, of two folds or more, standard deviation of the fold models' scores, by metric."""
    folds = [metrics for name, metrics in results.systems.items() if name.startswith("fold-")]
    return {metric: _spread([float(each[metric]["score"]) for each in folds]) for metric in COMPARED_METRICS}


def _spread(scores: list[float]) -> dict[str, float]:
    spread = {"standard_deviation": float(np.std(scores, ddof=1))} if len(scores) > 1 else {}
    return {"mean": float(np.mean(scores))} | spread


def _scores(metrics: dict[str, Any]) -> dict[str, float]:
    return {metric: round(float(metrics[metric]["score"]), _DECIMALS) for metric in COMPARED_METRICS}


def _megabytes(metrics: dict[str, Any]) -> dict[str, float]:
    return {"megabytes": round(metrics["size_bytes"] / 1e6, _DECIMALS)} if "size_bytes" in metrics else {}
