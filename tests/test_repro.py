from __future__ import annotations

from pathlib import Path

import pytest

from scripts.repro import heal_lock, heal_stage_lock
from scripts.repro import main as repro
from textmill.command import one_line_errors

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


def test_params_that_dvc_would_never_finish_reading_are_refused_before_dvc_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("scripts.repro.DvcRuns", lambda: pytest.fail("dvc was started"))
    Path("params.yaml").write_text("a: &a [*a]\n")
    with pytest.raises(SystemExit) as end, one_line_errors("repro"):
        repro(1)
    assert end.value.code == 2
    assert capsys.readouterr().err.startswith("repro: params.yaml: is nested too deeply, or has an alias inside itself")
