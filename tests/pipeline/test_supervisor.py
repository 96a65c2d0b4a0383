"""The supervisor ends the process of a stage correctly, whatever the cause."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from dvc_project import make_stages
from ruamel.yaml import YAML

from textmill.base.lifetime import with_ancestors
from textmill.pipeline import supervisor
from textmill.pipeline.supervisor import MEMORY
from textmill.settings.tree import with_defaults
from textmill.tuning.space import value_at

STAGE = """
import os, signal, sys, time
from textmill.base.command import one_line_errors
from textmill.base.lifetime import raise_when_stopped
if sys.argv[1] == "exits":
    sys.exit(7)
if sys.argv[1] == "imports":
    print(os.getpid(), flush=True); time.sleep(60)
with one_line_errors("train@0"):
    raise_when_stopped()
    try:
        if sys.argv[1] == "does not listen":
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        print(os.getpid(), flush=True)
        time.sleep(60)
    finally:
        print("closed", flush=True)
"""
# dvc, as far as a stage knows it: a process that starts another one and waits for it.
DVC = "import subprocess, sys; p = subprocess.Popen([sys.executable, '-m', 'stages.train', *sys.argv[1:]]); sys.exit(p.wait() % 256)"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    make_stages(folder, seconds_to_end=0.3)
    (folder / "stages/train.py").write_text(STAGE)
    return folder


def start(project: Path, how: str) -> tuple[subprocess.Popen[str], int, int]:
    """dvc, and the process ids of the supervisor and of the stage; a stage that does not run to its start has none."""
    environment = {**os.environ, "DVC_STAGE": "train@0", "PYTHONPATH": f"{project}:{Path('src').resolve()}"}
    dvc = subprocess.Popen(
        [sys.executable, "-c", DVC, how],
        cwd=project,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert dvc.stdout is not None
    line = dvc.stdout.readline()
    stage = int(line) if line else 0
    return dvc, int(Path(f"/proc/{stage}/stat").read_text().rpartition(")")[2].split()[1]) if stage else 0, stage


@pytest.mark.parametrize(
    ("how", "act", "code", "said", "line"),
    [
        ("exits", lambda dvc, supervisor, stage: None, 7, "", ""),
        ("works", lambda dvc, supervisor, stage: os.kill(supervisor, signal.SIGTERM), 143, "closed\n", "train@0: stopped.\n"),
        ("works", lambda dvc, supervisor, stage: os.kill(supervisor, signal.SIGHUP), 143, "closed\n", "train@0: stopped.\n"),
        ("works", lambda dvc, supervisor, stage: os.killpg(dvc, signal.SIGTERM), -15, "closed\n", "train@0: stopped.\n"),
        ("works", lambda dvc, supervisor, stage: os.kill(dvc, signal.SIGKILL), -9, "closed\n", "train@0: stopped.\n"),
        ("works", lambda dvc, supervisor, stage: os.kill(dvc, signal.SIGTERM), -15, "closed\n", "train@0: stopped.\n"),
        ("works", lambda dvc, supervisor, stage: os.kill(supervisor, signal.SIGKILL), 247, "", ""),
        ("works", lambda dvc, supervisor, stage: os.kill(stage, signal.SIGSEGV), 139, "", "train@0: crashed (SIGSEGV) in native code."),
        (
            "works",
            lambda dvc, supervisor, stage: os.kill(stage, signal.SIGKILL),
            137,
            "",
            "train@0: was killed (signal 9): most likely the machine ran out of memory. Lower train.batch_tokens",
        ),
        ("imports", lambda dvc, supervisor, stage: os.kill(supervisor, signal.SIGINT), 143, "", "train@0: stopped.\n"),
        ("does not listen", lambda dvc, supervisor, stage: os.kill(supervisor, signal.SIGTERM), 137, "", "train@0: did not stop within"),
    ],
)
def test_a_stage_closes_what_it_has_open_and_never_outlives_its_dvc(
    project: Path, how: str, act: Callable[[int, int, int], None], code: int, said: str, line: str
) -> None:
    dvc, supervisor, stage = start(project, how)
    act(dvc.pid, supervisor, stage)
    out, err = dvc.communicate(timeout=3600)  # returns when no process has the pipes any more
    assert (dvc.returncode, out) == (code, said), err
    assert err.startswith(line) and err.count("\n") == bool(line)


@pytest.mark.parametrize(
    ("commands", "found"),
    [
        ({7: ["sh", "-c", "x"], 6: ["python", "dvc", "repro"], 1: ["init"]}, 6),
        ({7: ["sh", "-c", "x"], 6: ["python", "-m", "textmill.commands.dependent_dvc"], 1: ["init"]}, 6),
        ({7: ["python", "program.py"], 1: ["init"]}, 7),
        ({7: ["python", "-c", "Repo().reproduce()"], 6: ["bash"], 1: ["init"]}, 7),
        ({7: ["python", "-c", "Repo().reproduce()"]}, 7),  # by docker exec: its parent is outside of the container
        ({7: ["sh", "-c", "x"], 1: ["sh", "-c", "dvc repro"]}, 1),
        ({7: ["sh", "-c", "x"], 1: ["init"]}, None),
        ({1: ["init"]}, None),
    ],
)
def test_the_dvc_above_a_stage_is_found(monkeypatch: pytest.MonkeyPatch, commands: dict[int, list[str]], found: int | None) -> None:
    monkeypatch.setattr(supervisor, "with_ancestors", lambda pid: iter(commands.items()))
    monkeypatch.setattr(supervisor, "process_key", str)
    assert supervisor._dvc_above(next(iter(commands))) == (None if found is None else str(found))


def test_the_settings_that_a_stage_killed_for_its_memory_names_exist() -> None:
    params = with_defaults(YAML(typ="safe").load(Path("params.yaml").read_text(encoding="utf-8")))
    pipeline = YAML(typ="safe").load(Path("dvc.yaml").read_text(encoding="utf-8"))
    assert set(MEMORY) <= set(pipeline["stages"])
    for hint in MEMORY.values():
        for key in (word.strip(",;()") for word in hint.split() if "." in word):
            assert value_at(params, key) is not None, key


def test_the_ancestors_are_those_that_psutil_finds() -> None:
    found = list(with_ancestors(os.getpid()))
    process = psutil.Process()
    assert [pid for pid, _ in found] == [each.pid for each in (process, *process.parents())]
    assert found[0][1][: len(process.cmdline())] == process.cmdline()
    assert list(with_ancestors(2**22 + 1)) == [(2**22 + 1, [])], "no such process"
