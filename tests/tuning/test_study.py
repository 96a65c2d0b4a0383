"""Trials of several processes in one study, their learning curves and their processes."""

from __future__ import annotations

import dataclasses
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from ruamel.yaml import YAML

from textmill.base.errors import UserError
from textmill.base.tensors import write_tensors
from textmill.tuning import process
from textmill.tuning.curve import Curve
from textmill.tuning.settings import SearchSettings, read_tune
from textmill.tuning.study import best_trial, claim, counted, enqueue_current, is_taken_away, open_study, recover

pytestmark = pytest.mark.filterwarnings("ignore:Heartbeat of storage is supposed to be used with Study.optimize")
PARAMS = YAML(typ="safe").load(Path("params.yaml").read_text(encoding="utf-8"))
TUNE = read_tune(Path("tune.yaml"), PARAMS)


def settings(**changes: int) -> SearchSettings:
    return dataclasses.replace(TUNE.search, **changes)  # type: ignore[arg-type]


def test_processes_share_a_study_and_draw_different_values(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/studies.db"
    studies = [open_study("one", settings(), url) for _ in range(2)]
    assert enqueue_current(studies[0], TUNE.space, {"train.learning_rate": 2e-3, "train.warmup_steps": 300, "model.dropout": 0.1})
    assert not enqueue_current(studies[0], TUNE.space, {"train.learning_rate": 1.0, "train.warmup_steps": 300, "model.dropout": 0.1})
    drawn = []
    for number in range(6):
        trial = studies[number % 2].ask()
        drawn.append(tuple(dimension.suggest(trial, key) for key, dimension in TUNE.space.items()))
    assert drawn[0] == (2e-3, 300, 0.1) and len(set(drawn)) == 6
    again = open_study("two", settings(), url)
    drawn_again = []
    for _ in range(6):
        trial = again.ask()
        drawn_again.append(tuple(dimension.suggest(trial, key) for key, dimension in TUNE.space.items()))
    assert drawn_again[1:] == drawn[1:], "a function of seed and number"
    assert len(counted(studies[0].trials)) == 6 and best_trial(studies[0]) is None


def test_a_trial_whose_process_was_killed_is_tried_again_and_counts_once(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/studies.db"
    program = (
        "import sys, os, signal; sys.path.insert(0, 'tests/tuning'); from test_study import *\n"
        f"trial = open_study('one', settings(), {url!r}).ask(); claim(trial)\n"
        "for key, dimension in TUNE.space.items(): dimension.suggest(trial, key)\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    killed = subprocess.run([sys.executable, "-W", "ignore", "-c", program], check=False, capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    study = open_study("one", settings(), url)
    own = study.ask()
    claim(own)
    assert recover(study) == [0] and recover(study) == [], "and the trial of a living process stays"
    assert len(counted(study.trials)) == 1
    again = study.ask()
    assert {key: d.suggest(again, key) for key, d in TUNE.space.items()} and again.params == study.trials[0].params
    assert len(counted(study.trials)) == 2


def test_a_trial_of_a_machine_that_is_gone_is_tried_again(tmp_path: Path) -> None:
    study = open_study("one", settings(), f"sqlite:///{tmp_path}/studies.db")
    trial = study.ask()
    trial.set_user_attr("process", "elsewhere 1 1.0")
    for key, dimension in TUNE.space.items():
        dimension.suggest(trial, key)
    study._storage.record_heartbeat(trial._trial_id)  # type: ignore[attr-defined]
    assert recover(study) == [] and not is_taken_away(study, 0)
    with sqlite3.connect(tmp_path / "studies.db") as database:
        database.execute("UPDATE trial_heartbeats SET heartbeat = '2020-01-01 00:00:00'")
    assert recover(study) == [0] and recover(study) == [] and is_taken_away(study, 0)
    assert counted(study.trials) == [] and study.ask().params == {}


def test_of_two_processes_that_find_a_killed_trial_one_tries_it_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = open_study("one", settings(), f"sqlite:///{tmp_path}/studies.db")
    study.ask()
    other = open_study("one", settings(), f"sqlite:///{tmp_path}/studies.db")

    def gone(trial: object) -> bool:
        monkeypatch.undo()
        monkeypatch.setattr("textmill.tuning.study._is_gone", lambda trial: True)
        assert recover(other) == [0]
        return True

    monkeypatch.setattr("textmill.tuning.study._is_gone", gone)
    recover(study)
    assert [trial.state.name for trial in study.trials] == ["FAIL", "WAITING"]


def test_a_storage_that_does_not_answer_is_one_line_without_the_password() -> None:
    for url in ("postgresql://me:secret@127.0.0.1:9/x", "sqlite:////nowhere/at/all.db"):
        with pytest.raises(UserError, match="cannot be used") as caught:
            open_study("one", settings(), url)
        assert "secret" not in str(caught.value) and "\n" not in str(caught.value)


def test_a_curve_is_read_from_checkpoints_that_change_and_not_from_those_that_lay_there(tmp_path: Path) -> None:
    def save(name: str, losses: list[float | None]) -> None:
        rows = [{"step": 10 * (index + 1), "validation_loss": loss} for index, loss in enumerate(losses)]
        write_tensors(tmp_path / name, {"x": torch.zeros(1)}, {"history": rows})

    save("old.safetensors", [9.0])
    curve = Curve(tmp_path, tmp_path / "history.csv")
    assert curve.so_far() == {} and curve.whole() == {}
    save("new.safetensors", [5.0, None, 4.0])
    (tmp_path / "broken.safetensors").write_bytes(b"half a f")
    assert curve.so_far() == {10: 5.0, 30: 4.0}
    (tmp_path / "new.safetensors").unlink()
    save("old.safetensors", [3.0])
    assert curve.so_far()[10] == 3.0
    (tmp_path / "history.csv").write_text("step,train_loss,validation_loss,learning_rate\n10,1.0,,0.1\n20,1.0,2.5,0.1\n")
    assert curve.whole() == {20: 2.5}


def test_stopping_a_trial_ends_all_its_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "_SECONDS_TO_END", 0.5)
    stubborn = "trap '' TERM; sleep 60 & echo $!; echo started > ready; wait; sleep 60"
    pid_file = tmp_path / "ready"
    started = time.monotonic()
    code = process.run_watched(["sh", "-c", stubborn], tmp_path, os.environ, tmp_path / "log", lambda: not pid_file.exists())
    assert code is None and time.monotonic() - started < 20
    child = int((tmp_path / "log").read_text().split()[0])
    assert not Path(f"/proc/{child}").exists() or "Z" in Path(f"/proc/{child}/stat").read_text().split()
    assert process.run_watched(["sh", "-c", "echo why; exit 3"], tmp_path, os.environ, tmp_path / "log", lambda: True) == 3
    assert process.last_words(tmp_path / "log") == "why"
