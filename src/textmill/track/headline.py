"""The few numbers by which rebuilds are compared: parameters and metrics of the rebuild's own run."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from textmill.base import paths
from textmill.base.files import read_json

_SPEED = re.compile(r"\{.*\}", re.DOTALL)  # reports/speed/NAME.js is a script with one JSON object in it


def headline_metrics() -> dict[str, float]:
    """Scores of the student, the exported model and the best baseline, the spread over folds, size, speed and rows.

    They are those of metrics/summary.json, so rounded as there. Speed is of this machine, and left out where none was measured.
    """
    if not paths.SUMMARY.is_file():
        return {}
    summary = read_json(paths.SUMMARY)
    tasks: dict[str, Any] = summary.get("tasks", {"": summary})
    found: dict[str, float] = {}
    for task, scores in tasks.items():
        found |= _of_task(f"{task.replace(' ', '_')}_" if task else "", scores)
    found |= {
        "exported_megabytes": next(iter(tasks.values()))["systems"]["exported"]["megabytes"],
        "test_rows": summary["rows"]["test"],
        "development_rows": summary["rows"]["development"],
    }
    speed = _sentences_per_second("exported")
    return found | ({"exported_sentences_per_second": round(speed, 1)} if speed else {})


def _of_task(prefix: str, scores: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of one task in its deciding metric."""
    systems, metric = scores["systems"], scores["metric"]
    found = {f"student_{metric}": systems["student"][metric], f"exported_{metric}": systems["exported"][metric]}
    found |= {f"best_baseline_{metric}": value for value in scores["best_baseline"].values()}
    found |= {f"folds_{metric}_{name}": value for name, value in scores["folds"].get(metric, {}).items()}
    return {f"{prefix}{name}": value for name, value in found.items()}


def all_params(stages: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The parameters of all stages as one nested mapping, without the versions of packages. stages: locked params by stage, by key."""
    merged: dict[str, Any] = {}
    for params in stages.values():
        merged |= {key: value for key, value in params.items() if not key.startswith("packages")}
    return dict(sorted(merged.items()))


def _sentences_per_second(system: str) -> float:
    path: Path = paths.system_speed(system)
    found = _SPEED.search(path.read_text(encoding="utf-8")) if path.is_file() else None
    return float(json.loads(found[0]).get("sentences_per_second", 0.0)) if found else 0.0
