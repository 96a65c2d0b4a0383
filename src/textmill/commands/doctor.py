"""Check that all files are byte for byte what DVC has on record, and find leftovers of killed processes.

DVC trusts an object in its cache if its mode is 0444, and a file if its size and time are known. So `dvc status`, `dvc checkout` and
`dvc repro` do not notice a flipped bit. The doctor checks:

- every object in the cache against the hash in its name
- every output in the workspace against dvc.lock
- DVC's own files, which a killed process may have left broken
- temporary files and open MLflow runs of killed processes
- remotes whose data DVC would not verify

--fix removes damaged objects from the cache (the next `dvc repro` makes them, or `dvc pull` fetches them), removes leftovers, repairs
DVC's own files, closes MLflow runs that would stay open forever, and makes DVC check damaged outputs again. It never changes the
content of an output.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from dvc.repo import Repo

from textmill.base import paths
from textmill.base.files import is_unfinished, md5_of
from textmill.base.progress import Progress
from textmill.commands.outputs import Output, recorded_outputs
from textmill.commands.repro import (
    GOOD_STAGE_LOCK,
    LOCK,
    STAGE_LOCK,
    heal_lock,
    heal_stage_lock,
    is_sound_lock,
    is_sound_stage_lock,
    process_at_work,
)
from textmill.pipeline.inputs import content_md5
from textmill.tracking.store import close_left_open, runs_left_open

_OBJECT = re.compile(r"[0-9a-f]{30}(\.dir)?")
_DVC_LEFTOVERS = "*.tmp"  # dvc_objects.fs.utils.tmp_fname


@dataclass(frozen=True)
class Finding:
    """One problem.

    text: what is wrong and what to do.
    repair: function that --fix calls; None if only a person can decide.
    repaired: message after the repair.
    """

    text: str
    repair: Callable[[], object] | None = None
    repaired: str = ""


def main(fix: bool) -> int:
    if process := process_at_work():
        print(f"doctor: process {process} is running in this folder. Run again when it has ended.", file=sys.stderr)
        return 1
    found = 0
    for finding in findings():
        found += 1
        print(finding.text, flush=True)
        if fix and finding.repair is not None:
            finding.repair()
            print(f"  repaired: {finding.repaired}", flush=True)
    if not found:
        print("doctor: healthy")
    return 1 if found else 0


def findings() -> Iterator[Finding]:
    """Yield all problems, in an order in which they can be repaired one by one."""
    yield from _broken_files()
    yield from _leftovers()
    yield from _open_runs()
    if not is_sound_stage_lock(STAGE_LOCK):  # not repaired, so outputs cannot be checked
        return
    with Repo() as repo:
        outputs = recorded_outputs(repo)
        objects = sorted(path for path in Path(repo.cache.local.path).glob("??/*") if _OBJECT.fullmatch(path.name))
        present = [output for output in outputs if output.path.exists()]
        files = [*objects, *(file for output in present for file in _files(output.path))]
        with Progress("doctor", sum(map(_megabytes, files)), "MB") as progress:
            yield from _damaged_objects(objects, outputs, progress)
            yield from _differing(repo, present, progress)
        yield from _trusted_remotes(repo)


def _broken_files() -> Iterator[Finding]:
    if not is_sound_lock(LOCK):
        yield Finding(
            f"{LOCK}: left broken by a killed process, so every dvc command fails. `make repro` or `make doctor FIX=1` moves it away.",
            lambda: heal_lock(LOCK),
            "moved away",
        )
    if not is_sound_stage_lock(STAGE_LOCK):
        kept = f"the copy from before the last `make repro` ({GOOD_STAGE_LOCK})" if GOOD_STAGE_LOCK.is_file() else ""
        yield Finding(
            f"{STAGE_LOCK}: broken. `git checkout {STAGE_LOCK}` restores the committed file"
            + (f"; `make doctor FIX=1` restores {kept}." if kept else "."),
            (lambda: heal_stage_lock(STAGE_LOCK, GOOD_STAGE_LOCK)) if kept else None,
            f"restored {kept}",
        )


def _leftovers() -> Iterator[Finding]:
    """Yield temporary files of killed processes: those of textmill next to outputs, and those of DVC in its cache."""
    for path in sorted({*_our_leftovers(), *_dvc_leftovers()}):
        yield Finding(
            f"{path}: left by a killed process, and never read. `make doctor FIX=1` removes it.",
            partial(_remove, path),
            "removed",
        )


def _our_leftovers() -> Iterator[Path]:
    own = {Path(top) for top in ("data", "models", "reports", "metrics", paths.CHECKPOINTS, ".tune")}
    for top in own:
        for folder, inner, _ in os.walk(top):
            if Path(folder) == Path("data/raw"):
                inner.clear()  # files of the user
            yield from (Path(folder, name) for name in inner if is_unfinished(Path(folder, name)))
    yield from (path for folder in (Path(), Path(".dvc/tmp")) for path in folder.glob(".*") if is_unfinished(path))


def _dvc_leftovers() -> Iterator[Path]:
    with Repo() as repo:
        cache = Path(repo.cache.local.path)
    yield from map(_shown, cache.rglob(_DVC_LEFTOVERS))
    for name in ("data", "models", "reports"):  # after a killed checkout
        yield from (path for path in Path(name).rglob(f".{_DVC_LEFTOVERS}") if path.is_file() and Path("data/raw") not in path.parents)


def _open_runs() -> Iterator[Finding]:
    if names := runs_left_open():
        yield Finding(
            f"MLflow runs of killed processes are still open: {', '.join(names)}. `make doctor FIX=1` closes them.",
            close_left_open,
            "closed as KILLED",
        )


def _damaged_objects(objects: list[Path], outputs: list[Output], progress: Progress) -> Iterator[Finding]:
    for path in objects:
        is_right = _readable(partial(md5_of, path)) == path.parent.name + path.name.removesuffix(".dir")
        progress.advance(_megabytes(path))
        if not is_right:
            users = [str(output.path) for output in outputs if output.md5 == path.parent.name + path.name]
            yield Finding(
                f"{_shown(path)}: damaged in DVC's cache ({', '.join(users) or 'not an output of this commit'})."
                " `make doctor FIX=1` removes it. Then `dvc pull` fetches it from the remote, or `dvc repro` makes it again.",
                path.unlink,
                "removed",
            )


def _differing(repo: Repo, outputs: list[Output], progress: Progress) -> Iterator[Finding]:
    for output in outputs:
        md5 = _readable(partial(content_md5, repo, output.path))
        progress.advance(sum(map(_megabytes, _files(output.path))))
        if md5 != output.md5:
            yield Finding(
                f"{output.path}: is not what DVC has on record for {output.stage} (MD5 {md5}, not {output.md5}): damaged, edited, or left"
                f" by a killed run. To undo it, remove the file and run `dvc checkout {output.path}` or `dvc repro`. To keep an edit,"
                f" run `dvc commit -f {output.stage}`.",
                partial(_look_again, output.path),
                "marked as changed, so the next `dvc repro` replaces it",
            )
        elif output.is_cached and not repo.cache.local.exists(output.md5):
            yield Finding(
                f"{output.path}: is correct, but not in DVC's cache, so it cannot be restored or pushed."
                f" Run `dvc commit -f {output.stage}`."
            )


def _trusted_remotes(repo: Repo) -> Iterator[Finding]:
    for name, options in repo.config["remote"].items():
        if not options.get("verify"):
            yield Finding(f"remote {name}: DVC does not verify data from this remote. Run `dvc remote modify {name} verify true`.")


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


def _readable(hashed: Callable[[], str]) -> str:
    """Return the hash, or the reason why the file cannot be read, which counts as a difference."""
    try:
        return hashed()
    except OSError as error:
        return f"unreadable: {error.strerror}"


def _megabytes(path: Path) -> int:
    return path.stat().st_size // 1_000_000


def _look_again(path: Path) -> None:
    for file in _files(path):
        os.utime(file)


def _files(path: Path) -> list[Path]:
    return [file for file in path.rglob("*") if file.is_file()] if path.is_dir() else [path]


def _shown(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
