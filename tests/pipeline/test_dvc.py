"""The behaviour of DVC that textmill relies on, tested with a small project of two stages."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from dvc_project import make_stages

pytestmark = pytest.mark.slow
DVC = [sys.executable, "-m", "dvc"]
_STAGE = """
import pathlib, sys, time
name = sys.argv[1]
pathlib.Path(f"{name}.started").touch()
while not pathlib.Path("go").exists():
    time.sleep(0.05)
pathlib.Path(f"{name}.out").write_text(pathlib.Path("in.txt").read_text() + name)
"""
_PIPELINE = "stages:\n" + "".join(
    f"  {name}:\n    cmd: python stage.py {name}\n    deps: [in.txt]\n    outs: [{name}.out]\n" for name in ("one", "two")
)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "stage.py").write_text(_STAGE)
    (folder / "dvc.yaml").write_text(_PIPELINE)
    (folder / "in.txt").write_text("input ")
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    for command in (["init", "-q"], ["config", "core.site_cache_dir", str(tmp_path / "site")]):
        subprocess.run([*DVC, *command], cwd=folder, check=True)
    return folder


def dvc(folder: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **more, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    return subprocess.run([*DVC, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=3600)


def test_of_two_rebuilds_of_one_stage_the_second_is_refused_and_of_two_stages_both_are_locked(project: Path) -> None:
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    first = subprocess.Popen([*DVC, "repro", "-q", "-s", "one"], cwd=project, env=environment)
    while not (project / "one.started").exists():
        assert first.poll() is None
    refused = dvc(project, "repro", "-s", "one")
    assert refused.returncode != 0 and "is busy" in refused.stderr
    assert first.poll() is None, "the first is unharmed"
    (project / "go").touch()
    assert dvc(project, "repro", "-s", "two").returncode == 0
    assert first.wait(3600) == 0
    lock = (project / "dvc.lock").read_text()
    assert "  one:" in lock and "  two:" in lock


def test_without_dvc_lock_the_run_cache_does_not_bring_back_what_another_module_made(project: Path) -> None:
    """For modules that are declared, as tests/test_structure.py sees to."""
    (project / "helper.py").write_text("WORD = 'old'\n")
    (project / "stage.py").write_text("from pathlib import Path\nfrom helper import WORD\nPath('out').write_text(WORD)\n")
    (project / "dvc.yaml").write_text("stages:\n  one:\n    cmd: python stage.py\n    deps: [stage.py, helper.py]\n    outs: [out]\n")
    for word, is_run in (("old", True), ("new", True), ("old", False)):
        (project / "helper.py").write_text(f"WORD = '{word}'\n")
        done = dvc(project, "repro")
        assert done.returncode == 0 and (project / "out").read_text() == word
        assert ("Running stage" in done.stdout) == is_run, done.stdout
        for name in ("dvc.lock", "out"):
            (project / name).unlink()


@pytest.mark.parametrize("verify", ["true", "false"])
def test_a_flipped_byte_in_the_remote_is_noticed_by_pull_with_verify_as_the_readme_sets_it(project: Path, verify: str) -> None:
    (project / "go").touch()
    for command in (["remote", "add", "-d", "store", str(project.parent / "remote")], ["config", "remote.store.verify", verify]):
        assert dvc(project, *command).returncode == 0
    assert dvc(project, "repro", "-q").returncode == 0 and dvc(project, "push", "-q").returncode == 0
    content = (project / "one.out").read_bytes()
    digest = hashlib.md5(content).hexdigest()
    path = project.parent / "remote/files/md5" / digest[:2] / digest[2:]
    path.chmod(stat.S_IRUSR | stat.S_IWUSR)
    path.write_bytes(bytes([content[0] ^ 1]) + content[1:])
    path.chmod(0o444)
    subprocess.run(["rm", "-rf", ".dvc/cache", "one.out", "two.out", str(project.parent / "site")], cwd=project, check=True)
    pulled = dvc(project, "pull")
    assert (pulled.returncode != 0) is (verify == "true")
    assert (project / "one.out").exists() is (verify == "false"), "without it, the damaged byte arrives and nobody says so"


_WRITER = """
import os, pathlib, shutil, signal, stat, tempfile
import pandas as pd, pyarrow as pa
from textmill.base.files import write_json
from textmill.base.tables import write_table
points, fsync = iter(range(1, 100)), os.fsync
def killing(call):
    def point(*positional, **named):
        if next(points) == int(os.environ.get("KILL_AT", "0")):
            if call is fsync and stat.S_ISREG(os.fstat(positional[0]).st_mode):  # not all of it had been written yet
                os.truncate(f"/proc/self/fd/{positional[0]}", os.fstat(positional[0]).st_size // 2)
            os.kill(os.getpid(), signal.SIGKILL)
        return call(*positional, **named)
    return point
for owner, name in ((tempfile, "mkdtemp"), (os, "fsync"), (pathlib.Path, "replace"), (shutil, "rmtree")):
    setattr(owner, name, killing(getattr(owner, name)))
words = pathlib.Path("in.txt").read_text().split() * 1000
write_json(pathlib.Path("out.json"), words)
write_table(pathlib.Path("out.parquet"), pd.DataFrame({"word": words}), pa.schema([("word", pa.string())]))
print("points:", next(points) - 1)
"""


def test_a_stage_that_is_killed_anywhere_in_its_writes_changes_no_lock_and_leaves_no_half_output(project: Path, tmp_path: Path) -> None:
    (project / "stage.py").write_text(_WRITER)
    (project / "dvc.yaml").write_text(
        "stages:\n  write:\n    cmd: python stage.py\n    deps: [in.txt]\n    outs: [out.json, out.parquet]\n"
    )
    first = dvc(project, "repro")
    assert first.returncode == 0 and "points: 10\n" in first.stdout, "other points than this test knows"
    undisturbed = tmp_path / "undisturbed"
    shutil.copytree(project, undisturbed)
    for folder in (project, undisturbed):
        (folder / "in.txt").write_text("other input")
    assert dvc(undisturbed, "repro").returncode == 0
    outputs, lock = ("out.json", "out.parquet"), (project / "dvc.lock").read_bytes()
    for point in range(1, 11):
        killed = dvc(project, "repro", KILL_AT=str(point))
        assert killed.returncode != 0 and "points" not in killed.stdout
        assert (project / "dvc.lock").read_bytes() == lock, point
        there = [name for name in outputs if (project / name).exists()]
        assert all((project / name).read_bytes() == (undisturbed / name).read_bytes() for name in there), (point, there)
    assert dvc(project, "repro").returncode == 0
    assert (project / "dvc.lock").read_bytes() == (undisturbed / "dvc.lock").read_bytes() != lock


_STOPPED = """
import time
from pathlib import Path
from textmill.base.command import one_line_errors
from textmill.base.files import replacing
from textmill.base.lifetime import raise_when_stopped
word = Path("in.txt").read_text()
with one_line_errors("write"):
    raise_when_stopped()
    with replacing(Path("out.txt")) as temporary:
        temporary.write_text(word)
        try:
            if word == "first":
                Path("first.started").touch()
                time.sleep(600)
        finally:  # closes what it has open for as long as the second rebuild takes
            while word == "first" and not Path("second.done").exists():
                time.sleep(0.05)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_second_rebuild_is_not_disturbed_by_a_stage_of_the_first_that_is_still_stopping(project: Path, number: signal.Signals) -> None:
    make_stages(project, seconds_to_end=600)
    (project / "stages/write.py").write_text(_STOPPED)
    (project / "dvc.yaml").write_text("stages:\n  write:\n    cmd: python -m stages.write\n    deps: [in.txt]\n    outs: [out.txt]\n")
    (project / "in.txt").write_text("first")
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHONPATH": f"{project}:{Path('src').resolve()}"}
    first = subprocess.Popen([*DVC, "repro"], cwd=project, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not (project / "first.started").exists():
        assert first.poll() is None
    (project / "in.txt").write_text("second")
    first.send_signal(number)
    assert first.wait(3600) == -number
    second = dvc(project, "repro", PYTHONPATH=environment["PYTHONPATH"])
    assert second.returncode == 0, second.stderr
    (project / "second.done").touch()
    _, err = first.communicate(timeout=3600)  # returns when no process has the pipes any more
    assert err.endswith("write: stopped.\n"), "the first was not stopping: then this test shows nothing"
    assert (project / "out.txt").read_text() == "second" and not list(project.glob(".out.txt*"))
    assert "up to date" in dvc(project, "status").stdout
