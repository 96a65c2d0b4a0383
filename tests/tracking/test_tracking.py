from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from textmill.tracking import was_opened_since

RUN = """
import sys, time
from textmill import tracking
with tracking.stage_run(sys.argv[1], {"train": {"steps": 3, "long": "x" * 9000, "list": [1, 2]}}, {"a.py": "0" * 32}, "key-" + sys.argv[1]) as log:
    for step in range(5):
        log.metrics({"loss": 1.0 / (step + 1), "nested": {"mean@1": 2}, "text": "no", "bad": float("nan")}, step)
    exec(sys.argv[2] if len(sys.argv) > 2 else "")
print("done")
"""


def start(folder: Path, stage: str, *more: str, **environment: str) -> subprocess.Popen[str]:
    settings = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "TEXTMILL_", "DVC_"))}
    settings |= {"DVC_ROOT": str(folder), "TEXTMILL_REBUILD": "one", **environment}
    command = [sys.executable, "-c", RUN, stage, *more]
    return subprocess.Popen(command, env=settings, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=folder)


def client(folder: Path):  # type: ignore[no-untyped-def]
    import mlflow

    return mlflow.MlflowClient(f"sqlite:///{folder}/.mlflow/mlflow.db")


def runs(folder: Path):  # type: ignore[no-untyped-def]
    store = client(folder)
    return store.search_runs([experiment.experiment_id for experiment in store.search_experiments()])


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four processes at once against a store that does not exist yet: without a lock they destroy it."""
    folder = tmp_path_factory.mktemp("store")
    processes = [start(folder, f"train@{number}", MLFLOW_RUN_ID="f" * 32) for number in range(4)]
    for process in processes:
        out, err = process.communicate(timeout=120)
        assert (process.returncode, out) == (0, "done\n"), err
        assert "tracking:" not in err
    return folder


def test_parallel_first_contact_gives_one_parent_with_all_children_finished(store: Path) -> None:
    found = runs(store)
    parents = [run for run in found if run.data.tags["textmill.role"] == "rebuild"]
    children = [run for run in found if run.data.tags["textmill.role"] == "stage"]
    assert len(parents) == 1
    assert sorted(run.data.tags["dvc.stage"] for run in children) == [f"train@{number}" for number in range(4)]
    assert {run.data.tags["mlflow.parentRunId"] for run in children} == {parents[0].info.run_id}
    assert {run.info.status for run in children} == {"FINISHED"}
    assert {run.info.experiment_id for run in found} != {"0"}


def test_params_metrics_and_curves_arrive(store: Path) -> None:
    child = next(run for run in runs(store) if run.data.tags.get("dvc.stage") == "train@2")
    assert child.data.params["train.steps"] == "3" and child.data.params["train.list"] == "[1, 2]"
    assert len(child.data.params["train.long"]) == 6000
    assert set(child.data.metrics) == {"loss", "nested.mean_1"}
    history = client(store).get_metric_history(child.info.run_id, "loss")
    assert [(point.step, point.value) for point in history] == [(step, 1 / (step + 1)) for step in range(5)]


SEARCH = """
import os, signal, sys
from textmill import tracking
connection = tracking.connect_search("study")
if sys.argv[1] == "trial":
    tracking.trial_run(connection, "trial 0", {"train.steps": 3})
    os.kill(os.getpid(), signal.SIGKILL)
if sys.argv[1] == "elsewhere":
    run = tracking.trial_run(connection, "trial 1", {})
    run.tag("textmill.process", "elsewhere 1 1.0")
    os.kill(os.getpid(), signal.SIGKILL)
parent = tracking.search_run(connection)
parent.end_children("KILLED", {"state": "failed"})
parent.end("FINISHED")
"""


def test_trials_of_processes_that_are_gone_are_closed_as_failed(tmp_path: Path) -> None:
    for part in ("trial", "elsewhere", "end"):
        run = subprocess.run(
            [sys.executable, "-c", SEARCH, part],
            env={**os.environ, "DVC_ROOT": str(tmp_path)},
            cwd=tmp_path,
            capture_output=True,
            check=False,
        )
        assert run.returncode == (0 if part == "end" else -signal.SIGKILL), run.stderr
    found = {run.info.run_name: run for run in runs(tmp_path) if run.data.tags["textmill.role"] == "trial"}
    assert {name: (run.info.status, run.data.tags["state"]) for name, run in found.items()} == {
        "trial 0": ("KILLED", "failed"),
        "trial 1": ("KILLED", "failed"),
    }
    assert {run.info.status for run in runs(tmp_path) if run.data.tags["textmill.role"] == "search"} == {"FINISHED"}


def test_a_failing_and_a_terminated_stage_are_closed_as_such(store: Path) -> None:
    start(store, "fails", "raise ValueError").communicate(timeout=60)
    terminated = start(
        store,
        "ends",
        "import signal; signal.signal(signal.SIGTERM, lambda *_: sys.exit(143)); print('ready', flush=True); time.sleep(60)",
    )
    assert terminated.stdout is not None and terminated.stdout.readline() == "ready\n"
    terminated.send_signal(signal.SIGTERM)
    terminated.communicate(timeout=60)
    status = {run.data.tags.get("dvc.stage"): run.info.status for run in runs(store)}
    assert (status["fails"], status["ends"]) == ("FAILED", "KILLED")


def test_a_rebuild_is_closed_as_its_stage_was_and_a_later_stage_of_it_changes_nothing(store: Path) -> None:
    for stage, program in (("clean", ""), ("fails", "raise ValueError"), ("beside", "")):
        start(store, stage, program).communicate(timeout=60)
    [rebuild] = [run for run in runs(store) if run.data.tags["textmill.role"] == "rebuild"]
    assert rebuild.info.status == "FAILED"


def test_the_run_of_a_killed_process_is_closed_by_the_next_rebuild(store: Path) -> None:
    killed = start(store, "killed", "print('ready', flush=True); time.sleep(60)")
    assert killed.stdout is not None and killed.stdout.readline() == "ready\n"
    killed.kill()
    killed.communicate()
    assert next(run for run in runs(store) if run.data.tags.get("dvc.stage") == "killed").info.status == "RUNNING"
    start(store, "next", TEXTMILL_REBUILD="two").communicate(timeout=60)
    assert next(run for run in runs(store) if run.data.tags.get("dvc.stage") == "killed").info.status == "KILLED"


def test_a_rebuild_that_track_did_not_close_has_finished_if_all_its_stages_have(store: Path) -> None:
    for rebuild, program in (("well", ""), ("badly", "raise ValueError"), ("next", "")):
        start(store, "clean", program, TEXTMILL_REBUILD=rebuild).communicate(timeout=60)
    status = {run.data.tags["textmill.rebuild"]: run.info.status for run in runs(store) if run.data.tags["textmill.role"] == "rebuild"}
    assert (status["well"], status["badly"], status["next"]) == ("FINISHED", "FAILED", "RUNNING")


def test_a_rebuild_is_published_when_track_has_closed_its_run(store: Path) -> None:
    asked = "from textmill.publication import is_published; print(is_published())"
    closing = "from textmill.tracking import RunLog, connect; parent = connect(); RunLog(parent, parent.parent_id).end('FINISHED')"
    answers = []
    for program in (asked, f"{closing}; {asked}"):
        process = start(store, "clean", program, TEXTMILL_REBUILD="published")
        answers.append(process.communicate(timeout=60)[0].split("\n")[0])
    assert answers == ["False", "True"]


def test_the_store_knows_since_when_it_was_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    assert not was_opened_since(0.0)
    before = time.time() - 0.1  # a file system's clock may be a little behind
    start(tmp_path, "clean").communicate(timeout=60)
    assert was_opened_since(before) and not was_opened_since(time.time() + 1)


def test_a_server_that_refuses_costs_one_line_and_no_time(tmp_path: Path) -> None:
    started = time.monotonic()
    process = start(tmp_path, "train@0", MLFLOW_TRACKING_URI="http://user:secret@127.0.0.1:9")
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (0, "done\n")
    assert err.count("tracking:") == 1 and "dvc repro -f -s track" in err
    assert "secret" not in err
    assert time.monotonic() - started < 10


def test_a_server_that_accepts_and_never_answers_is_given_up(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        process = start(tmp_path, "train@0", MLFLOW_TRACKING_URI=f"http://127.0.0.1:{port}", MLFLOW_HTTP_REQUEST_TIMEOUT="2")
        out, err = process.communicate(timeout=90)
    assert (process.returncode, out) == (0, "done\n")
    assert err.count("tracking:") == 1


def test_it_can_be_switched_off(tmp_path: Path) -> None:
    out, err = start(tmp_path, "train@0", TEXTMILL_TRACKING="off").communicate(timeout=60)
    assert (out, "tracking" in err) == ("done\n", False)
    assert not (tmp_path / ".mlflow").exists()


_HOLD = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('BEGIN EXCLUSIVE'); print('held', flush=True); sys.stdin.read()"
_LOG = "print('ready', flush=True); sys.stdin.readline(); [log.metrics({'late': step}, step) for step in range(5)]; log.flush()"


def hold(folder: Path) -> subprocess.Popen[str]:
    """A process that has the store for itself until its stdin is closed."""
    command = [sys.executable, "-c", _HOLD, str(folder / ".mlflow/mlflow.db")]
    holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None and holder.stdout.readline() == "held\n"
    return holder


def ready_to_log(folder: Path, stage: str) -> subprocess.Popen[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "TEXTMILL_", "DVC_"))}
    environment |= {"DVC_ROOT": str(folder), "TEXTMILL_REBUILD": "held"}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen([sys.executable, "-c", RUN, stage, _LOG], env=environment, cwd=folder, text=True, **pipes)  # type: ignore[call-overload]
    assert process.stdout.readline() == "ready\n"
    return process


def test_a_store_that_is_held_for_a_moment_gets_every_point(tmp_path: Path) -> None:
    process = ready_to_log(tmp_path, "waits")
    holder = hold(tmp_path)
    process.stdin.write("go\n")  # type: ignore[union-attr]
    process.stdin.flush()  # type: ignore[union-attr]
    time.sleep(0.5)
    holder.communicate("")
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (0, "done\n") and "tracking:" not in err
    [run] = [run for run in runs(tmp_path) if run.data.tags.get("dvc.stage") == "waits"]
    assert run.info.status == "FINISHED"
    assert [point.step for point in client(tmp_path).get_metric_history(run.info.run_id, "late")] == list(range(5))


@pytest.mark.slow
def test_a_store_that_is_held_longer_than_sqlite_waits_loses_no_work_and_says_so_in_one_line(tmp_path: Path) -> None:
    process = ready_to_log(tmp_path, "waits")
    holder = hold(tmp_path)
    out, err = process.communicate("go\n", timeout=240)
    holder.communicate("")
    assert (process.returncode, out) == (0, "done\n")
    assert err.count("tracking: the MLflow store failed") == 1 and "Publish later with" in err


def test_a_store_on_a_full_disk_loses_no_work_and_says_so_in_one_line(tmp_path: Path) -> None:
    """RLIMIT_FSIZE stands in for the full disk."""
    full = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096)); log.metrics({'late': 1.0}, 9); log.flush()"
    process = start(tmp_path, "fills", full)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (0, "done\n")
    assert err.count("tracking: the MLflow store failed") == 1
