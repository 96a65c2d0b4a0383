"""`make repro` is stopped: by a signal to make, to all processes, or by the death of one of them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from textmill.commands.dependent_dvc import INTERRUPTED, PARENT

STAGE = """
import os, time
from textmill.base.command import one_line_errors
from textmill.base.lifetime import raise_when_stopped
with one_line_errors("train"):
    raise_when_stopped()
    try:
        print("ready", flush=True)
        time.sleep(60)
    finally:
        print("closed", flush=True)
"""
SCRIPT = """
from textmill.commands.dvc_runs import DvcRuns
from textmill.base import command
def main():
    dvc = DvcRuns()
    return dvc("repro") or dvc("status")
command.run("repro", main)
"""
SHELL = '#!/bin/sh\n/bin/sh "$@"\nexit $?\n'  # unlike bash, it does not replace itself with the command
PIPELINE = "stages:\n  train:\n    cmd: python -m stages.train\n  later:\n    cmd: echo a later stage\n"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    (folder / "stages").mkdir()
    (folder / "stages/__init__.py").write_bytes(Path("stages/__init__.py").read_bytes())
    (folder / "stages/train.py").write_text(STAGE)
    (folder / "script.py").write_text(SCRIPT)
    (folder / "dvc.yaml").write_text(PIPELINE)
    (folder / "Makefile").write_text(f"repro:\n\t{sys.executable} script.py\n")
    (folder / "shell").write_text(SHELL)
    (folder / "shell").chmod(0o755)
    subprocess.run([sys.executable, "-m", "dvc", "init", "-q", "--no-scm"], cwd=folder, check=True)
    return folder


def of(make: psutil.Process, name: str) -> psutil.Process:
    """Return the descendant of make that runs `name`."""
    return next(each for each in make.children(recursive=True) if name in " ".join(each.cmdline()))


@pytest.mark.parametrize("shell", ["/bin/bash", "shell"])
@pytest.mark.parametrize(
    ("act", "says_so"),
    [
        (lambda make: make.terminate(), True),
        (lambda make: make.kill(), True),
        (lambda make: os.killpg(make.pid, signal.SIGTERM), True),
        (lambda make: os.killpg(make.pid, signal.SIGINT), True),
        (lambda make: of(make, "script.py").kill(), False),
        (lambda make: of(make, "dependent_dvc").kill(), False),
        (lambda make: of(make, "dependent_dvc").terminate(), False),
    ],
    ids=["make ended", "make killed", "all ended", "Ctrl-C", "repro killed", "dvc killed", "dvc ended"],
)
def test_the_stage_closes_what_it_has_open_and_no_process_is_left(
    project: Path, act: Callable[[psutil.Process], None], says_so: bool, shell: str
) -> None:
    if not Path(shell).is_absolute():
        shell = str(project / shell)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    settings = {**os.environ, "PATH": path, "PYTHONPATH": f"{project}:{Path('src').resolve()}:{Path.cwd()}", "SHELL": shell}
    make = subprocess.Popen(
        ["make", "-s"], cwd=project, env=settings, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert make.stdout is not None
    before = ""
    while "ready" not in before:
        line = make.stdout.readline()
        assert line, make.communicate()
        before += line
    act(psutil.Process(make.pid))
    out, err = make.communicate(timeout=3600)  # returns when no process has the pipes any more
    assert make.returncode != 0
    assert out.startswith("closed\n") and "later" not in out
    assert "Traceback" not in err and "train: stopped." in err, err
    assert ("repro: stopped." in err) == says_so, err
    lock = project / ".dvc/tmp/rwlock"
    assert not says_so or not any(json.loads(lock.read_text()).values()), "dvc has ended in order"


def repro(folder: Path, program: str) -> subprocess.CompletedProcess[str]:
    """Run `dvc repro` by a program that calls dependent_dvc, on a long stage and one that would come after it."""
    subprocess.run([sys.executable, "-m", "dvc", "init", "-q", "--no-scm"], cwd=folder, check=True)
    (folder / "dvc.yaml").write_text("stages:\n  one:\n    cmd: sleep 60\n  two:\n    cmd: echo ran >> log\n")
    environment = {**os.environ, PARENT: str(os.getpid()), "PYTHONPATH": f"{Path('src').resolve()}:{Path.cwd()}"}
    command = [sys.executable, "-c", program, "repro"]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


WRITES_UNDER_SIGNALS = """
import json, os, signal, sys, types
from dvc import rwlock
from textmill.commands import dependent_dvc
def dump(value, file):
    if not was_asked:
        for number in (signal.SIGTERM, signal.SIGINT):
            os.kill(os.getpid(), number)  # the file is open, and empty
    was_asked.append(True)
    json.dump(value, file)
was_asked = []
rwlock.json = types.SimpleNamespace(load=json.load, dump=dump, dumps=json.dumps, loads=json.loads, JSONDecodeError=json.JSONDecodeError)
sys.exit(dependent_dvc.main())
"""


def test_dvc_is_not_interrupted_while_it_writes_its_lock_file(tmp_path: Path) -> None:
    ended = repro(tmp_path, WRITES_UNDER_SIGNALS)
    assert ended.returncode in (INTERRUPTED, 255), ended  # before the stage, or with it
    assert "Traceback" not in ended.stderr
    assert not any(json.loads((tmp_path / ".dvc/tmp/rwlock").read_text()).values())
    assert not (tmp_path / "log").exists(), "a stage was run after the signal"


INTERRUPTED_IN_A_DESTRUCTOR = """
import os, signal, sys
import dvc.stage
from textmill.commands import dependent_dvc
class Asked:
    def __del__(self):
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            [None for _ in range(1000)]
        except KeyboardInterrupt:
            print("interrupted in the destructor", flush=True)
            raise
def run_stage(*arguments, **more):
    Asked()
    return right(*arguments, **more)
right, dvc.stage.run_stage = dvc.stage.run_stage, run_stage
sys.exit(dependent_dvc.main())
"""


def test_an_interrupt_that_python_drops_ends_dvc_with_its_next_stage(tmp_path: Path) -> None:
    ended = repro(tmp_path, INTERRUPTED_IN_A_DESTRUCTOR)
    assert "interrupted in the destructor" in ended.stdout and ended.returncode == 255, ended
    assert "Traceback" not in ended.stderr and "Exception ignored" not in ended.stderr
    assert not (tmp_path / "log").exists(), "a stage was run after the signal"
