"""A search on toy data, by real `dvc repro` in its workspace: one trial completes, one is pruned, one fails, and it goes on after an end."""

from __future__ import annotations

import sys
from pathlib import Path

import optuna
import pytest
from ruamel.yaml import YAML
from test_pipeline import change, make_clone, run, share_cache, store

from textmill.settings.tree import check_settings

pytestmark = pytest.mark.pipeline
TUNE = """
search:
  stage: train@0
  metric: models/train/0/metrics.json:best_validation_loss
  direction: minimize
  per_text: true
  trials: {trials}
  seed: 1
  startup_trials: 1
  min_steps: 0
space:
  train.learning_rate: {{choices: [0.002, 1.0e-6]}}
  tokenizer.vocabulary_size: {{choices: [340, 50000]}}
"""


def test_a_search_prunes_survives_failures_goes_on_and_leaves_params_that_dvc_takes(tmp_path: Path, first: Path) -> None:
    clone = make_clone(tmp_path / "clone")
    share_cache(clone, first)
    change(clone, lambda params: params["train"].update(max_steps=200, validate_every=10))
    (clone / "tune.yaml").write_text(TUNE.format(trials=1), encoding="utf-8")
    tune = (sys.executable, "-m", "textmill", "tune")
    first = run(clone, *tune)
    assert first.returncode == 0 and "trial 0 complete" in first.stdout, first.stdout + first.stderr

    url = f"sqlite:///{clone}/.tune/studies.db"
    (name,) = optuna.get_all_study_names(url)
    study = optuna.load_study(study_name=name, storage=url)
    for rate, pieces in (("1e-06", "340"), ("0.002", "50000")):  # a poor trial, and more pieces than the text has
        study.enqueue_trial({"train.learning_rate": rate, "tokenizer.vocabulary_size": pieces})
    (clone / "tune.yaml").write_text(TUNE.format(trials=3), encoding="utf-8")
    second = run(clone, *tune)
    assert second.returncode == 0, second.stdout + second.stderr
    assert "1 of 3 trials have ended" in second.stdout, "more trials are the same study"
    assert "trial 1 pruned (worse than the median at step" in second.stdout, second.stdout
    assert "trial 2 failed (tokenizer: " in second.stdout, second.stdout
    assert not list((clone / ".tune").rglob("workspace-1")), "a workspace is used again"

    best = YAML(typ="safe").load((clone / ".tune/best.yaml").read_text(encoding="utf-8"))
    check_settings(best)
    assert best["train"]["learning_rate"] == 0.002 and best["tokenizer"]["vocabulary_size"] == 340
    assert "  dvc exp run -S train.learning_rate=0.002 -S tokenizer.vocabulary_size=340\n" in second.stdout

    (clone / ".tune/best.yaml").write_text("of another study")
    third = run(clone, *tune)
    assert third.returncode == 0 and "starts with" not in third.stdout, third.stdout + third.stderr
    assert YAML(typ="safe").load((clone / ".tune/best.yaml").read_text(encoding="utf-8")) == best

    client = store(clone)
    runs = client.search_runs([client.get_experiment_by_name("textmill").experiment_id])
    (parent,) = (run for run in runs if run.data.tags["textmill.role"] == "search")
    trials = {run.data.tags["state"]: run for run in runs if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id}
    assert {state: trial.info.status for state, trial in trials.items()} == {
        "complete": "FINISHED",
        "pruned": "FINISHED",
        "failed": "FAILED",
    }
    assert trials["pruned"].data.params["train.learning_rate"] == "1e-06"
    curve = client.get_metric_history(trials["complete"].info.run_id, "validation_loss")
    assert [point.step for point in curve] == list(range(10, 201, 10))
    assert 0 < len(client.get_metric_history(trials["pruned"].info.run_id, "validation_loss")) < 20
    assert parent.data.metrics["value"] == study.best_value and parent.info.status == "FINISHED"
