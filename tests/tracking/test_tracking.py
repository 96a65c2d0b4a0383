from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from forked import Forked

from textmill.tracking.connection import git_state, was_opened

RUN = """
import sys, time
from textmill.tracking.connection import connect
from textmill.tracking.runs import stage_run
from textmill.tracking.store import close_left_open
with stage_run(sys.argv[1], {"train": {"steps": 3, "long": "x" * 9000, "list": [1, 2]}}, {"a.py": "0" * 32}, "key-" + sys.argv[1]) as log:
    for step in range(5):
        log.metrics({"loss": 1.0 / (step + 1), "nested": {"mean@1": 2}, "text": "no", "bad": float("nan")}, step)
    exec(sys.argv[2] if len(sys.argv) > 2 else "")
print("done")
"""


def start(folder: Path, stage: str, *more: str, **environment: str) -> Forked:
    settings = {**os.environ, "DVC_ROOT": str(folder), "TEXTMILL_REBUILD": "one", **environment}
    return Forked(RUN, stage, *more, env=settings, cwd=folder)


def test_the_processes_of_these_tests_have_mlflow_from_the_start(tmp_path: Path) -> None:
    program = "import sys; print('mlflow.store.tracking.sqlalchemy_store' in sys.modules)"
    assert Forked(program, env=os.environ, cwd=tmp_path).communicate() == ("True\n", "")


def client(store: Path | str):  # type: ignore[no-untyped-def]
    """store: its address, or the folder that the embedded one is in."""
    import mlflow

    return mlflow.MlflowClient(store if isinstance(store, str) else f"sqlite:///{store}/.mlflow/mlflow.db")


def runs(folder: Path | str):  # type: ignore[no-untyped-def]
    store = client(folder)
    return store.search_runs([experiment.experiment_id for experiment in store.search_experiments()])


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four processes at once against a store that does not exist yet: without a lock they destroy it."""
    folder = tmp_path_factory.mktemp("store")
    processes = [start(folder, f"train@{number}", MLFLOW_RUN_ID="f" * 32) for number in range(4)]
    for process in processes:
        out, err = process.communicate(timeout=3600)
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
    assert {name for name in child.data.metrics if not name.startswith("system/")} == {"loss", "nested.mean_1"}
    history = client(store).get_metric_history(child.info.run_id, "loss")
    assert [(point.step, point.value) for point in history] == [(step, 1 / (step + 1)) for step in range(5)]


SEARCH = """
import os, signal, sys
from textmill.tracking.connection import connect_search
from textmill.tracking.runs import search_run, trial_run
connection = connect_search("study")
if sys.argv[1] == "trial":
    trial_run(connection, "trial 0", {"train.steps": 3})
    os.kill(os.getpid(), signal.SIGKILL)
if sys.argv[1] == "elsewhere":
    run = trial_run(connection, "trial 1", {})
    run.tag("textmill.process", "elsewhere 1 1.0")
    os.kill(os.getpid(), signal.SIGKILL)
parent = search_run(connection)
parent.end_children("KILLED", {"state": "failed"})
parent.end("FINISHED")
"""


def test_trials_of_processes_that_are_gone_are_closed_as_failed(tmp_path: Path) -> None:
    for part in ("trial", "elsewhere", "end"):
        search = Forked(SEARCH, part, env={**os.environ, "DVC_ROOT": str(tmp_path)}, cwd=tmp_path)
        _, err = search.communicate(timeout=3600)
        assert search.returncode == (0 if part == "end" else -signal.SIGKILL), err
    found = {run.info.run_name: run for run in runs(tmp_path) if run.data.tags["textmill.role"] == "trial"}
    assert {name: (run.info.status, run.data.tags["state"]) for name, run in found.items()} == {
        "trial 0": ("KILLED", "failed"),
        "trial 1": ("KILLED", "failed"),
    }
    assert {run.info.status for run in runs(tmp_path) if run.data.tags["textmill.role"] == "search"} == {"FINISHED"}


def test_a_failing_and_a_terminated_stage_are_closed_as_such(store: Path) -> None:
    start(store, "fails", "raise ValueError").communicate(timeout=3600)
    terminated = start(
        store,
        "ends",
        "import signal; signal.signal(signal.SIGTERM, lambda *_: sys.exit(143)); print('ready', flush=True); time.sleep(60)",
    )
    assert terminated.stdout.readline() == "ready\n"
    terminated.send_signal(signal.SIGTERM)
    terminated.communicate(timeout=3600)
    status = {run.data.tags.get("dvc.stage"): run.info.status for run in runs(store)}
    assert (status["fails"], status["ends"]) == ("FAILED", "KILLED")


def test_a_rebuild_is_closed_as_its_stage_was_and_a_later_stage_of_it_changes_nothing(store: Path) -> None:
    for stage, program in (("clean", ""), ("fails", "raise ValueError"), ("beside", "")):
        start(store, stage, program).communicate(timeout=3600)
    [rebuild] = [run for run in runs(store) if run.data.tags["textmill.role"] == "rebuild"]
    assert rebuild.info.status == "FAILED"


def test_the_run_of_a_killed_process_is_closed_by_the_next_rebuild(store: Path) -> None:
    killed = start(store, "killed", "print('ready', flush=True); time.sleep(60)")
    assert killed.stdout.readline() == "ready\n"
    killed.kill()
    killed.communicate()
    assert next(run for run in runs(store) if run.data.tags.get("dvc.stage") == "killed").info.status == "RUNNING"
    start(store, "next", TEXTMILL_REBUILD="two").communicate(timeout=3600)
    assert next(run for run in runs(store) if run.data.tags.get("dvc.stage") == "killed").info.status == "KILLED"


KILLED_REBUILD = """
import os, signal
from textmill.tracking.runs import stage_run
with stage_run("fold@0", {}, {}, "key-0"):
    pass
with stage_run("fold@1", {}, {}, "key-1"):
    os.kill(os.getpid(), signal.SIGKILL)
"""
COMPLETE_REBUILD = """
from pathlib import Path
from textmill.track import publication
from textmill.tracking.runs import stage_run
for fold in (1, 2):  # the first is locked, so dvc does not run it again
    with stage_run(f"fold@{fold}", {}, {}, f"key-{fold}"):
        pass
stages = [publication.LockedStage(f"fold@{fold}", f"key-{fold}", "hash", {}, {}) for fold in range(3)]
Path("dvc.lock").touch()
print(publication.publish_rebuild(stages, Path("dvc.lock"), "name"))
"""


@pytest.mark.slow
def test_after_a_killed_rebuild_and_a_complete_one_each_fold_has_exactly_one_finished_run(store: Path) -> None:
    for rebuild, program, code in (("fold killed", KILLED_REBUILD, -signal.SIGKILL), ("folds complete", COMPLETE_REBUILD, 0)):
        settings = {**os.environ, "DVC_ROOT": str(store), "TEXTMILL_REBUILD": rebuild}
        done = Forked(program, env=settings, cwd=store)
        out, err = done.communicate(timeout=3600)
        assert done.returncode == code, err
    assert out == "{'ran': 2, 'cached': 1, 'restored': 0}\n", err
    parents = {run.info.run_id: run for run in runs(store) if run.data.tags["textmill.role"] == "rebuild"}
    folds = [run for run in runs(store) if run.data.tags.get("dvc.stage", "").startswith("fold@")]
    complete = [run for run in folds if parents[run.data.tags["mlflow.parentRunId"]].data.tags["textmill.rebuild"] == "folds complete"]
    assert sorted((run.data.tags["dvc.stage"], run.info.status) for run in complete) == [(f"fold@{fold}", "FINISHED") for fold in range(3)]
    made = [run for run in folds if "textmill.origin" not in run.data.tags]
    finished, killed = ([run for run in made if run.info.status == status] for status in ("FINISHED", "KILLED"))
    assert sorted(run.data.tags["dvc.stage"] for run in finished) == ["fold@0", "fold@1", "fold@2"]
    assert [run.data.tags["dvc.stage"] for run in killed] == ["fold@1"] and len(made) == 4
    sources = {run.data.tags.get("dvc.source_run") for run in complete} - {None}
    assert sources == {run.info.run_id for run in finished if run.data.tags["dvc.stage"] == "fold@0"}, (
        "the skipped fold names the run that made it"
    )


def test_a_rebuild_that_track_did_not_complete_has_not_finished_however_well_its_stages_ended(store: Path) -> None:
    for rebuild, program in (("well", ""), ("badly", "raise ValueError"), ("next", "")):
        start(store, "clean", program, TEXTMILL_REBUILD=rebuild).communicate(timeout=3600)
    status = {run.data.tags["textmill.rebuild"]: run.info.status for run in runs(store) if run.data.tags["textmill.role"] == "rebuild"}
    assert (status["well"], status["badly"], status["next"]) == ("KILLED", "FAILED", "RUNNING")


def test_runs_of_a_killed_track_are_closed_and_what_it_had_not_published_is_published_later(store: Path) -> None:
    killing = (
        "import os, signal; from pathlib import Path; from textmill.track import publication\n"
        "publication._replayed = lambda stage: os.kill(os.getpid(), signal.SIGKILL)\n"
        "stage = publication.LockedStage('clean', 'no run has it', 'hash', {}, {})\n"
        "publication.publish_rebuild([stage], Path('dvc.lock'), 'name')"
    )
    start(store, "track", killing, TEXTMILL_REBUILD="published by halves").communicate(timeout=3600)
    half = next(run for run in runs(store) if run.info.run_name == "clean (restored)")
    assert half.info.status == "RUNNING"
    closing = "print(close_left_open())"
    out = start(store, "clean", closing, TEXTMILL_REBUILD="after halves").communicate(timeout=3600)[0]
    left = {run.info.status for run in runs(store) if half.data.tags["mlflow.parentRunId"] in (run.info.run_id, *run.data.tags.values())}
    assert left == {"KILLED"}
    assert out.split("\n")[0] == "0", "the next rebuild has closed them all"


def test_what_is_left_open_can_be_closed_without_a_rebuild_and_without_making_a_store(store: Path, tmp_path: Path) -> None:
    killed = start(store, "killed alone", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)", TEXTMILL_REBUILD="next")
    killed.communicate(timeout=3600)
    program = "from textmill.tracking.store import close_left_open, runs_left_open as left; print('killed alone' in left(), close_left_open(), left())"
    environment = {**os.environ, "DVC_ROOT": str(store)}
    out, err = Forked(program, env=environment, cwd=store).communicate(timeout=3600)
    was_named, closed, *others = out.split()
    assert (was_named, others) == ("True", ["[]"]) and int(closed) >= 1
    assert "RUNNING" not in {run.info.status for run in runs(store)}
    environment["DVC_ROOT"] = str(tmp_path)
    out, err = Forked(program, env=environment, cwd=store).communicate(timeout=3600)
    assert (out, err) == ("False 0 []\n", "") and not list(tmp_path.iterdir())


def test_a_rebuild_is_published_when_track_has_closed_its_run(store: Path) -> None:
    asked = "from textmill.track.publication import is_published; print(is_published())"
    closing = "from textmill.tracking.connection import connect; from textmill.tracking.runs import RunLog; parent = connect(); RunLog(parent, parent.parent_id).end('FINISHED')"
    answers = []
    for program in (asked, f"{closing}; {asked}"):
        process = start(store, "clean", program, TEXTMILL_REBUILD="published")
        answers.append(process.communicate(timeout=3600)[0].split("\n")[0])
    assert answers == ["False", "True"]


def test_a_rebuild_knows_whether_one_of_its_processes_opened_the_store(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_ROOT", str(store))
    for rebuild, is_opened in (("one", True), ("never heard of", False)):
        monkeypatch.setenv("TEXTMILL_REBUILD", rebuild)
        assert was_opened() == is_opened


def test_a_clock_that_is_set_does_not_split_a_rebuild(tmp_path: Path) -> None:
    """Two children of one dvc, for the second of which the machine was started a second earlier: so it looks when the clock is set."""
    asked = "import psutil; from textmill.tracking.connection import rebuild_key\n"
    later = "from psutil import _pslinux as linux; was = linux.boot_time(); linux.boot_time = lambda: was + 1; linux.BOOT_TIME = was + 1\n"
    dvc = tmp_path / "dvc"
    children = [asked + "print(rebuild_key())", asked + later + "print(rebuild_key())"]
    dvc.write_text(f"import subprocess, sys\nfor child in {children!r}: subprocess.run([sys.executable, '-c', child], check=True)\n")
    done = subprocess.run([sys.executable, str(dvc)], capture_output=True, text=True, check=True)
    first, second = done.stdout.split()
    assert first == second


def test_a_broken_store_costs_one_line_and_not_the_traceback_that_mlflow_logs(tmp_path: Path) -> None:
    breaking = "from pathlib import Path; Path('.mlflow/mlflow.db').write_bytes(b'no database ' * 9999); log.flush()"
    out, err = start(tmp_path, "train@0", breaking).communicate(timeout=3600)
    assert out == "done\n"
    assert err.count("tracking:") == 1 and "Traceback" not in err, err


def test_a_server_that_refuses_costs_one_line_and_no_time(tmp_path: Path) -> None:
    started = time.monotonic()
    process = start(tmp_path, "train@0", MLFLOW_TRACKING_URI="http://user:secret@127.0.0.1:9")
    out, err = process.communicate(timeout=3600)
    assert (process.returncode, out) == (0, "done\n")
    assert err.count("tracking:") == 1 and "dvc repro -f -s track" in err
    assert "secret" not in err
    assert time.monotonic() - started < 10


@pytest.fixture(params=["says nothing", "drips"])
def slow_server(request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of a server that never gives a whole answer. The one that drips sends something before any timeout of a socket."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        is_over = threading.Event()

        def answer(connection: socket.socket) -> None:
            with connection, suppress(OSError):
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n{")
                while not is_over.wait(0.05):
                    connection.sendall(b" ")

        def accept() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    kept.append(connection)
                    if request.param == "drips":
                        threading.Thread(target=answer, args=(connection,), daemon=True).start()

        kept: list[socket.socket] = []
        threading.Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        is_over.set()
        server.shutdown(socket.SHUT_RDWR)


def test_a_server_that_never_answers_is_given_up_once_for_the_whole_rebuild(tmp_path: Path, slow_server: str) -> None:
    environment = {"MLFLOW_TRACKING_URI": slow_server, "TEXTMILL_TRACKING_SECONDS": "0.5"}
    lines = []
    for stage in ("first", "second"):
        process = start(tmp_path, stage, **environment)
        out, err = process.communicate(timeout=3600)
        assert (process.returncode, out) == (0, "done\n"), err
        lines.append(err.count("tracking:"))
    assert lines == [1, 0], "the second stage does not ask"
    out, err = start(tmp_path, "track", "print(connect(to_publish=True))", **environment).communicate(timeout=3600)
    assert "None" in out and err.count("tracking:") == 1, "but who publishes does"
    assert not list((tmp_path / ".mlflow").rglob("lock")), "the lock is for stores that are files"


_LOG_AFTER_A_PAUSE = "log.flush(); print('ready', flush=True); sys.stdin.readline(); log.metrics({'late': 1.0}, 9); log.flush()"


@pytest.mark.slow
def test_a_server_that_dies_in_the_middle_costs_one_line_and_keeps_what_it_had(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    store = f"sqlite:///{tmp_path}/server.db"
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", store, "--artifacts-destination", str(tmp_path / "artifacts")]
    server = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        is_up = False
        while not is_up:
            assert server.poll() is None
            time.sleep(0.1)
            with suppress(OSError):
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                is_up = True
        # A busy machine may need longer than 30 s for the first answers.
        settings = {"MLFLOW_TRACKING_URI": f"http://127.0.0.1:{port}", "TEXTMILL_TRACKING_SECONDS": "600"}
        process = start(tmp_path, "train@0", _LOG_AFTER_A_PAUSE, **settings)
        assert process.stdout.readline() == "ready\n"
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()
    out, err = process.communicate("go\n", timeout=3600)
    assert (process.returncode, out) == (0, "done\n")
    assert err.count("tracking:") == 1 and "Publish later with `dvc repro -f -s track`" in err and "Traceback" not in err, err
    kept = client(store)
    (run,) = [run for run in runs(store) if run.data.tags.get("dvc.stage") == "train@0"]
    assert [point.step for point in kept.get_metric_history(run.info.run_id, "loss")] == list(range(5))


def test_it_can_be_switched_off(tmp_path: Path) -> None:
    out, err = start(tmp_path, "train@0", TEXTMILL_TRACKING="off").communicate(timeout=3600)
    assert (out, "tracking" in err) == ("done\n", False)
    assert not (tmp_path / ".mlflow").exists()


def test_artifacts_are_found_after_the_project_was_moved(tmp_path: Path) -> None:
    before, now = tmp_path / "before", tmp_path / "a longer name"
    before.mkdir()
    (before / "note.txt").write_text("kept")
    noting = "from pathlib import Path; log.artifact(Path('note.txt'))"
    assert start(before, "clean", noting).communicate(timeout=3600)[0] == "done\n"
    before.rename(now)
    assert start(now, "clean", TEXTMILL_REBUILD="two").communicate(timeout=3600)[0] == "done\n"
    first = next(run for run in runs(now) if any("note" in each.path for each in client(now).list_artifacts(run.info.run_id)))
    assert Path(client(now).download_artifacts(first.info.run_id, "note.txt", str(tmp_path))).read_text() == "kept"
    addresses = {run.info.artifact_uri for run in runs(now)} | {client(now).get_experiment_by_name("textmill").artifact_location}
    assert all(address.startswith(f"{now.as_uri()}/.mlflow/artifacts") for address in addresses)


def test_git_is_asked_for_commit_and_changes_and_what_it_does_not_tell_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert git_state() == {}, "no repository"
    subprocess.run(["git", "init", "-q"], check=True)
    assert git_state() == {"git.dirty": "false"}, "no commit yet"
    subprocess.run(["git", "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "empty", "--allow-empty"], check=True)
    (tmp_path / "metrics").mkdir()
    for written in ("metrics/environment.json", "metrics/summary.json", "dvc.lock"):
        (tmp_path / written).touch()
    state = git_state()
    assert len(state["git.commit"]) == 40 and state["git.dirty"] == "false", "files that a rebuild writes do not count"
    assert state["mlflow.source.git.commit"] == state["git.commit"]
    (tmp_path / "other").touch()
    assert git_state()["git.dirty"] == "true"
    (tmp_path / ".git/index").write_text("broken")
    assert git_state() == {name: value for name, value in state.items() if name != "git.dirty"}, (
        "git status failed: not clean, not dirty, unknown"
    )
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git_state() == {}, "no git"


_HOLD = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('BEGIN EXCLUSIVE'); print('held', flush=True); sys.stdin.read()"
_LOG = "print('ready', flush=True); sys.stdin.readline(); [log.metrics({'late': step}, step) for step in range(5)]; log.flush()"


def hold(folder: Path) -> subprocess.Popen[str]:
    """A process that has the store for itself until its stdin is closed."""
    command = [sys.executable, "-c", _HOLD, str(folder / ".mlflow/mlflow.db")]
    holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None and holder.stdout.readline() == "held\n"
    return holder


def ready_to_log(folder: Path, stage: str) -> Forked:
    process = start(folder, stage, _LOG, TEXTMILL_REBUILD="held")
    assert process.stdout.readline() == "ready\n"
    return process


def test_a_store_that_is_held_for_a_moment_gets_every_point(tmp_path: Path) -> None:
    process = ready_to_log(tmp_path, "waits")
    holder = hold(tmp_path)
    process.stdin.write("go\n")
    process.stdin.flush()
    time.sleep(0.5)
    holder.communicate("")
    out, err = process.communicate(timeout=3600)
    assert (process.returncode, out) == (0, "done\n") and "tracking:" not in err
    [run] = [run for run in runs(tmp_path) if run.data.tags.get("dvc.stage") == "waits"]
    assert run.info.status == "FINISHED"
    assert [point.step for point in client(tmp_path).get_metric_history(run.info.run_id, "late")] == list(range(5))


@pytest.mark.slow
def test_a_store_that_is_held_longer_than_sqlite_waits_loses_no_work_and_says_so_in_one_line(tmp_path: Path) -> None:
    process = ready_to_log(tmp_path, "waits")
    holder = hold(tmp_path)
    out, err = process.communicate("go\n", timeout=3600)
    holder.communicate("")
    assert (process.returncode, out) == (0, "done\n")
    assert err.count("tracking: the MLflow store failed") == 1 and "Publish later with" in err


def test_a_store_on_a_full_disk_loses_no_work_and_says_so_in_one_line(tmp_path: Path) -> None:
    """RLIMIT_FSIZE stands in for the full disk."""
    full = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096)); log.metrics({'late': 1.0}, 9); log.flush()"
    process = start(tmp_path, "fills", full)
    out, err = process.communicate(timeout=3600)
    assert (process.returncode, out) == (0, "done\n")
    assert err.count("tracking: the MLflow store failed") == 1
