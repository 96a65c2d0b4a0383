from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from dvc.repo import Repo

from textmill.base.errors import UserError
from textmill.pipeline.site_cache import SITE_CACHE, is_out_of_reach, require_private_site_cache, set_site_cache


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """What git has of DVC's folders, under a umask that leaves files readable, as the working directory."""
    old = os.umask(0o022)
    for name in (".dvc/config", f"{SITE_CACHE}/repo/.gitignore"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_SITE_CACHE_DIR", raising=False)
    yield tmp_path
    os.umask(old)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def open_dvc() -> Path:
    """Its site cache, made if need be as every `dvc` does."""
    with Repo(config={"core": {"no_scm": True}}) as repo:
        return Path(repo.site_cache_dir)


def test_a_bare_dvc_in_a_fresh_clone_uses_folders_that_nobody_else_may_write(project: Path) -> None:
    made = open_dvc()
    assert made.resolve().parent == project / SITE_CACHE / "repo"
    assert not [path for path in (project / SITE_CACHE).rglob("*") if mode(path) & 0o022]


def test_the_first_stage_makes_it_private_and_right_for_a_dvc_started_anywhere(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    require_private_site_cache()
    assert mode(project / SITE_CACHE) == 0o700
    (project / "data").mkdir()
    monkeypatch.chdir("data")
    assert open_dvc().parent == project / SITE_CACHE / "repo"
    assert not list((project / "data").iterdir())


def test_other_local_settings_of_dvc_and_another_private_folder_stay(project: Path) -> None:
    private = project / "private"
    private.mkdir(mode=0o700)
    local = f"[cache]\n    dir = /elsewhere\n[core]\n    site_cache_dir = {private}\n"
    (project / ".dvc/config.local").write_text(local)
    set_site_cache()
    assert (project / ".dvc/config.local").read_text() == local
    private.rmdir()
    set_site_cache()
    assert (project / ".dvc/config.local").read_text() == local.replace(str(private), str(project / SITE_CACHE))


@pytest.mark.parametrize("place", ["own", "variable", "default"])
def test_a_folder_that_others_may_write_is_refused(project: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    open_folder = project / (SITE_CACHE if place == "own" else "open")
    open_folder.mkdir(exist_ok=True)
    open_folder.chmod(0o777)
    monkeypatch.setattr("textmill.pipeline.site_cache.is_private", lambda folder: folder != open_folder.resolve())
    if place == "variable":
        monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(open_folder))
    if place == "default":  # as DVC's own, without a setting
        (project / ".dvc/config").write_text("")
        monkeypatch.setattr("textmill.pipeline.site_cache.site_cache_dir", lambda _: str(open_folder))
    with pytest.raises(UserError, match=r"DVC's site cache .*Whoever can write there can run code as you\. Remove it, run `make setup`"):
        require_private_site_cache()


@pytest.mark.parametrize(
    ("places", "expected"),
    [
        ([(7, 0o755), (7, 0o755), (0, 0o755)], True),
        ([(7, 0o777), (7, 0o755), (0, 0o755)], False),
        ([(7, 0o755), (7, 0o775), (0, 0o755)], False),
        ([(7, 0o777), (7, 0o700), (0, 0o777)], True),
        ([(7, 0o777), (7, 0o777), (7, 0o700)], True),
        ([(7, 0o777), (8, 0o700), (0, 0o755)], False),
        ([(7, 0o755), (8, 0o755), (0, 0o755)], False),
        ([(7, 0o755), (0, 0o1777), (0, 0o755)], True),
    ],
)
def test_out_of_reach_is_below_a_folder_that_others_cannot_enter_or_nowhere_writable(places: list[tuple[int, int]], expected: bool) -> None:
    assert is_out_of_reach(places, 7) == expected
