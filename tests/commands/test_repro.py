from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from textmill.base.command import one_line_errors
from textmill.base.errors import UserError
from textmill.commands.repro import heal_lock, heal_stage_lock
from textmill.commands.repro import main as repro

LOCK = "schema: '2.0'\nstages:\n  clean:\n    cmd: python -m stages.clean\n    outs:\n    - path: a\n      md5: 0123\n      size: 3\n"


@pytest.mark.parametrize("content", ["", '{"a": ', "\x00\x00"])
def test_a_broken_rwlock_is_set_aside(tmp_path: Path, content: str) -> None:
    path = tmp_path / "rwlock"
    path.write_text(content)
    assert heal_lock(path)
    assert not path.exists() and path.with_suffix(".broken").read_text() == content


def test_a_sound_rwlock_and_a_missing_one_stay_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "rwlock"
    assert not heal_lock(path)
    path.write_text("{}")
    assert not heal_lock(path) and path.read_text() == "{}"


@pytest.mark.parametrize("cut", [0, 5, LOCK.index("outs") + 2])
def test_a_cut_dvc_lock_becomes_what_it_was_before_the_run(tmp_path: Path, cut: int) -> None:
    path, good = tmp_path / "dvc.lock", tmp_path / "tmp" / "good"
    path.write_text(LOCK)
    assert not heal_stage_lock(path, good) and good.read_text() == LOCK
    path.write_text(LOCK[:cut])
    assert heal_stage_lock(path, good)
    assert path.read_text() == LOCK and (tmp_path / "tmp" / "dvc.lock.broken").read_text() == LOCK[:cut]


def test_without_an_earlier_copy_a_broken_dvc_lock_is_only_set_aside(tmp_path: Path) -> None:
    path = tmp_path / "dvc.lock"
    path.write_text("")
    assert heal_stage_lock(path, tmp_path / "good") and not path.exists()
    assert not heal_stage_lock(path, tmp_path / "good"), "a first run has none"


def test_a_dvc_lock_in_the_middle_of_a_merge_is_left_to_its_user(tmp_path: Path) -> None:
    path, good = tmp_path / "dvc.lock", tmp_path / "good"
    good.write_text(LOCK)
    conflict = LOCK.replace("      md5: 0123\n", "<<<<<<< HEAD\n      md5: 0123\n=======\n      md5: 4567\n>>>>>>> other\n")
    path.write_text(conflict)
    with pytest.raises(UserError, match=r"dvc\.lock: contains a merge conflict\. Take one side with `git checkout --ours"):
        heal_stage_lock(path, good)
    assert path.read_text() == conflict


@pytest.mark.parametrize("heal", [lambda path: heal_lock(path), lambda path: heal_stage_lock(path, path.with_name("good"))])
def test_nothing_is_set_aside_while_a_dvc_process_is_alive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], heal: Callable[[Path], bool]
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "broken"
    path.write_text("{")
    waiting = "import sys, time; print(flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", waiting, "-m", "dvc", "repro"], stdout=subprocess.PIPE) as alive:
        try:
            assert alive.stdout is not None and alive.stdout.readline()
            monkeypatch.setattr("textmill.commands.repro.is_dvc", lambda command_line: "dvc" in command_line)
            with pytest.raises(SystemExit) as end:
                heal(path)
        finally:
            alive.kill()
    assert end.value.code == 1 and path.read_text() == "{"
    assert "is broken, but a dvc process is running. Wait for it or end it, then run again." in capsys.readouterr().err


def test_a_rebuild_that_left_files_out_of_the_cache_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """When the disk is full, dvc 3.67 can exit with 0 and record outputs in dvc.lock that it could not store."""
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text("seed: 1\n")
    asked: list[tuple[str, ...]] = []
    monkeypatch.setattr("textmill.commands.repro.DvcRuns", lambda: lambda *arguments: asked.append(arguments) or 0)
    monkeypatch.setattr("textmill.commands.repro.set_site_cache", lambda: None)
    monkeypatch.setattr("textmill.commands.repro.keep_copies", lambda: None)
    monkeypatch.setattr("textmill.commands.repro.was_opened", lambda: False)
    monkeypatch.setenv("TEXTMILL_REBUILD", "this one")
    for status, code in (('{"clean": [{"changed outs": {"data/clean": "not in cache"}}]}', 1), ("{}", 0)):
        monkeypatch.setattr("textmill.commands.repro.output_of", lambda *command, status=status: status)
        assert repro(1) == code
    assert asked == [("repro",)] * 2
    assert capsys.readouterr().out.startswith("repro: after the run the workspace differs from dvc.lock in clean. If the disk is full,")


def test_params_that_dvc_would_never_finish_reading_are_refused_before_dvc_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("textmill.commands.repro.DvcRuns", lambda: pytest.fail("dvc was started"))
    Path("params.yaml").write_text("a: &a [*a]\n")
    with pytest.raises(SystemExit) as end, one_line_errors("repro"):
        repro(1)
    assert end.value.code == 2
    assert capsys.readouterr().err.startswith("repro: params.yaml: nested too deeply, or an alias contains itself")
