"""Keep DVC's site cache private, because it contains pickles: whoever can write there can run code as the user.

DVC's default is a folder that every user of the machine can write to. If DVC has to make another folder, it gives it the same mode.
So .dvc/config names SITE_CACHE, a folder that is in git. It exists before the first `dvc`, and only its owner can write there.
The path in .dvc/config is relative, which works only if `dvc` is started in the project folder. `make setup`, or the first stage
that runs, writes the absolute path to .dvc/config.local. `dvc exp run --temp` needs it too, because it changes the folder.
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

_REMEDY = "Whoever can write there can run code as you. Remove it, run `make setup`, and start again."


def require_private_site_cache() -> None:
    """Raise UserError if other users can write to DVC's site cache. It calls `set_site_cache` if the cache is this project's folder."""
    configured = Path(site_cache_dir(Config.from_cwd()["core"].get("site_cache_dir")))
    if not configured.is_absolute():
        _require_started_in(Path.cwd(), configured)
    if configured.resolve() == SITE_CACHE.resolve():
        set_site_cache()
    elif not is_private(configured.resolve()):
        raise UserError(f"{configured}: DVC's site cache can be written by other users of this machine. {_REMEDY}")


def set_site_cache() -> None:
    """Make the folder of this project private, and write its absolute path to .dvc/config.local.

    The path is not written if .dvc/config.local already names a private folder.
    Raises UserError if the folder belongs to another user, or if everyone could write to it.
    """
    make_private(SITE_CACHE)
    config = Config(".dvc")
    named = Path(config.read("local")["core"].get("site_cache_dir", ""))
    if not (named.is_absolute() and named.is_dir() and is_private(named.resolve())):
        with config.edit("local") as local:
            local["core"]["site_cache_dir"] = str(SITE_CACHE.resolve())


def make_private(folder: Path) -> None:
    """Create `folder` if it does not exist, and allow only its owner to use it.

    Raises UserError if it belongs to another user, or if everyone could write to it.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & stat.S_IWOTH:
        raise UserError(f"{folder}: DVC's site cache is not yours alone. {_REMEDY}")
    if status.st_mode & 0o077:
        folder.chmod(0o700)


def is_private(folder: Path) -> bool:
    """True if other users cannot change a folder or DVC's folder `repo` in it."""
    found = [path.stat() for path in (folder / "repo", folder, *folder.parents) if path.exists()]
    return is_out_of_reach([(status.st_uid, status.st_mode) for status in found], os.getuid())


def is_out_of_reach(places: Sequence[tuple[int, int]], user: int) -> bool:
    """True if other users cannot enter one of these nested folders, or cannot write to any of them.

    places: owner and mode of each folder, from the innermost outwards. In a folder with the sticky bit, such as /tmp, users cannot
    replace files of other users.
    """
    if any(owner == user and not mode & 0o077 for owner, mode in places):
        return True
    return all(owner in (0, user) and (not mode & 0o022 or mode & stat.S_ISVTX) for owner, mode in places)


def _require_started_in(root: Path, configured: Path) -> None:
    """Raise UserError if the parent dvc was started in another folder, because its site cache is then there."""
    for process in psutil.Process().parents():
        with suppress(psutil.Error):
            if is_dvc(process.cmdline()) and Path(process.cwd()) != root.resolve():
                raise UserError(f"{Path(process.cwd(), configured)}: DVC made its site cache where it was started. {_REMEDY}")
