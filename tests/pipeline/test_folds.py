"""The whole graph with other folds than the default: a single hold-out, and repeated cross-validation."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from test_pipeline import DVC, change, make_clone, run

from textmill.base.tables import read_table

pytestmark = pytest.mark.pipeline


@pytest.mark.parametrize(
    ("split", "num_development_folds"),
    [
        pytest.param({"folds": [0], "num_folds": 5, "repeats": 1}, 5, id="a single hold-out"),
        pytest.param({"folds": [0, 1, 2, 3], "num_folds": 2, "repeats": 2}, 4, id="two repeats of two folds", marks=pytest.mark.slow),
    ],
)
def test_the_graph_runs_with_other_folds(tmp_path: Path, split: dict[str, Any], num_development_folds: int) -> None:
    clone = make_clone(tmp_path / "clone")
    change(clone, lambda params: params["split"].update(split))
    change(clone, lambda params: [section.update(max_steps=6, validate_every=3) for section in _trainings(params)])
    assert run(clone, sys.executable, "-m", "textmill", "folds").returncode == 0
    done = run(clone, *DVC, "repro", "report", TEXTMILL_TRACKING="off")
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    metrics, distill = (json.loads((clone / name).read_text()) for name in ("data/split/metrics.json", "models/distill/metrics.json"))
    summary, statistics = (json.loads((clone / name).read_text()) for name in ("metrics/summary.json", "reports/statistics.json"))
    assert len(metrics["folds"]) == num_development_folds
    assert {f"fold-{fold}" for fold in split["folds"]} == {name for name in statistics["systems"] if name.startswith("fold-")}
    rows = read_table(clone / "data/split/development.parquet")["folds"].tolist()
    outside = sum(set(row.tolist()).isdisjoint(split["folds"]) for row in rows)
    assert distill["labelled_by_all"] == outside and (outside > 0) is (len(split["folds"]) == 1)
    assert ("standard_deviation" in summary["folds"]["chrf"]) is (len(split["folds"]) > 1)
    dvc_yaml = YAML(typ="safe").load((clone / "dvc.yaml").read_text(encoding="utf-8"))
    assert len([dep for dep in dvc_yaml["stages"]["distill"]["deps"] if dep.startswith("models/train/")]) == len(split["folds"])


def _trainings(params: dict[str, Any]) -> list[dict[str, Any]]:
    return [params["train"], params["distill"]["train"], params["prune"]["fine_tune"]]
