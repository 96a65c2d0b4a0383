"""DVC's site cache, private: DVC runs code that whoever writes there has put in.

It holds pickled values. DVC's default is a folder that every user of the machine may write, and DVC gives that mode to any
other folder too if it has to make it. So .dvc/config names SITE_CACHE, which git has: it is there before the first `dvc`, and
nobody but its owner may write in it. The name is relative there, which is right for a `dvc` started in the root of the project
only: `make setup`, and the first stage that runs, write the absolute one to .dvc/config.local (also for `dvc exp run --temp`,
which changes its folder and then cannot find a relative one).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import psutil
from dvc.config import Config
from dvc.dirs import site_cache_dir

from textmill.base.errors import UserError
from textmill.base.lifetime import is_dvc

SITE_CACHE = Path(".dvc-site-cache")

_REMEDY = "Whoever writes there runs code as you. Remove it, run `make setup`, and start again."


def require_private_site_cache() -> None:
    """Raise UserError if others may write what DVC reads there; see `set_site_cache`, which this calls for this project's own folder."""
    configured = Path(site_cache_dir(Config.from_cwd()["core"].get("site_cache_dir")))
    if not configured.is_absolute():
        _require_started_in(Path.cwd(), configured)
    if configured.resolve() == SITE_CACHE.resolve():
        set_site_cache()
    elif not is_private(configured.resolve()):
        raise UserError(f"{configured}: DVC's site cache can be written by other users of this machine. {_REMEDY}")


def set_site_cache() -> None:
    """Make this project's folder private and write its absolute path to .dvc/config.local, unless that names another private one.

    Raises UserError if the folder is another user's, or anybody could write there.
    """
    make_private(SITE_CACHE)
    config = Config(".dvc")
    named = Path(config.read("local")["core"].get("site_cache_dir", ""))
    if not (named.is_absolute() and named.is_dir() and is_private(named.resolve())):
        with config.edit("local") as local:
            local["core"]["site_cache_dir"] = str(SITE_CACHE.resolve())


def make_private(folder: Path) -> None:
    """Make `folder` if need be, for its owner alone. Raises UserError if it is another user's, or anybody could write there."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & stat.S_IWOTH:
        raise UserError(f"{folder}: DVC's site cache is not yours alone. {_REMEDY}")
    if status.st_mode & 0o077:
        folder.chmod(0o700)


def is_private(folder: Path) -> bool:
    """Is a folder, with DVC's folder `repo` in it, out of reach of other users?"""
    places = [place.stat() for place in (folder / "repo", folder, *folder.parents) if place.exists()]
    return is_out_of_reach([(place.st_uid, place.st_mode) for place in places], os.getuid())


def is_out_of_reach(places: Sequence[tuple[int, int]], user: int) -> bool:
    """Is one of these folders, of which each is in the next, one that others cannot enter, or can they write in none of them?

    places: owner and mode of each. In a folder with the sticky bit, such as /tmp, nobody can replace what is another's.
    """
    if any(owner == user and not mode & 0o077 for owner, mode in places):
        return True
    return all(owner in (0, user) and (not mode & 0o022 or mode & stat.S_ISVTX) for owner, mode in places)


def _require_started_in(root: Path, configured: Path) -> None:
    """Raise UserError if the dvc above this process was started elsewhere: DVC's folders are then elsewhere too."""
    for process in psutil.Process().parents():
        with suppress(psutil.Error):
            if is_dvc(process.cmdline()) and Path(process.cwd()) != root.resolve():
                raise UserError(f"{Path(process.cwd(), configured)}: DVC made its site cache where it was started. {_REMEDY}")
