"""`dvc repro`, safe to run after a crash.

1. Check params.yaml. With nested YAML aliases, DVC itself would never finish reading it.
2. Repair files of DVC that a killed process left broken, unless a dvc process is alive. (DVC itself would not run until they are
   repaired by hand.) .dvc/tmp/rwlock is moved away, and dvc.lock is restored from before the last run. DVC's run cache has the
   stages that the last run finished.
3. Copy outputs that were edited or left by a killed run, and that are not in DVC's cache, because DVC would replace them without notice.
4. With more than one job, first bring all stages before the folds up to date, then train the folds in parallel.
5. Run `track` if the rebuild is not in MLflow yet. If all results equal the committed dvc.lock, as in the first rebuild of a fresh
   clone, DVC has no reason to run it.
6. Check that the workspace equals dvc.lock. When the disk is full, `dvc repro` can exit with 0 although files are missing.

On Ctrl-C, on SIGTERM, and when make dies, dvc and its stages are ended too (src/textmill/commands/dvc_runs.py).
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
from dvc.repo import Repo
from dvc.schema import COMPILED_LOCKFILE_SCHEMA
from ruamel.yaml import YAML, YAMLError
from voluptuous import Invalid

from textmill.base import paths
from textmill.base.errors import UserError
from textmill.base.files import read_json, write_bytes
from textmill.base.lifetime import is_dvc, process_key
from textmill.commands.asking import DVC, output_of
from textmill.commands.dvc_runs import DvcRuns
from textmill.commands.outputs import lost_when_replaced
from textmill.pipeline.site_cache import set_site_cache
from textmill.settings.params_file import params_text
from textmill.track.publication import is_published
from textmill.tracking.connection import was_opened

LOCK, STAGE_LOCK, GOOD_STAGE_LOCK = Path(".dvc/tmp/rwlock"), Path("dvc.lock"), Path(".dvc/tmp/dvc.lock.good")
COPIES = Path(".dvc/tmp/copies")
_CONFLICT = re.compile(rb"^<{7} ", re.MULTILINE)


def main(jobs: int) -> int:
    started = time.monotonic()
    params_text(Path("params.yaml"))
    set_site_cache()
    dvc = DvcRuns()
    heal_lock(LOCK)
    heal_stage_lock(STAGE_LOCK, GOOD_STAGE_LOCK)
    keep_copies()
    os.environ.setdefault("TEXTMILL_REBUILD", str(process_key(os.getpid())))
    if jobs > 1 and (code := _train_side_by_side(dvc, jobs)):
        return code
    if code := dvc("repro"):
        return code
    if was_opened() and not is_published() and (code := dvc("repro", "-f", "-s", "track")):
        return code
    stale = json.loads(output_of(*DVC, "status", "--json") or "{}")
    if stale:
        print(f"repro: after the run the workspace differs from dvc.lock in {', '.join(stale)}. If the disk is full, make room. Run again.")
        return 1
    print(closing_lines(time.monotonic() - started), end="")
    return 0


def closing_lines(seconds: float) -> str:
    """Score, size and time of the rebuild, and where the report is. seconds: that it took."""
    if not paths.SUMMARY.is_file():
        return ""
    summary = read_json(paths.SUMMARY)
    minutes, rest = divmod(round(seconds), 60)
    blocks = [_lines_of_task(task, scores) for task, scores in summary.get("tasks", {"": summary}).items()]
    return f"{''.join(blocks)}Finished in {minutes} min {rest} s. Report: {paths.REPORT}   Runs: textmill ui\n"


def _lines_of_task(task: str, scores: dict[str, Any]) -> str:
    student, exported = scores["systems"]["student"], scores["systems"]["exported"]
    metric = scores["metric"]
    heading = f"{task}:\n" if task else ""
    return (
        f"\n{heading}student   {student[metric]:6.2f} {metric}   {student['megabytes']:7.2f} MB\n"
        f"exported  {exported[metric]:6.2f} {metric}   {exported['megabytes']:7.2f} MB   {paths.EXPORTED_INT8}\n"
        + "".join(f"baseline  {baseline:6.2f} {metric}\n" for baseline in scores["best_baseline"].values())
    )


def heal_lock(path: Path) -> bool:
    """Move DVC's lock file away if it is not JSON and no dvc process is alive. Prints a message and returns True if it did."""
    if is_sound_lock(path):
        return False
    _set_aside(path, path.with_suffix(".broken"))
    return True


def is_sound_lock(path: Path) -> bool:
    """True if DVC's lock file is valid JSON or does not exist."""
    try:
        json.loads(path.read_text(encoding="utf-8") or "broken")
    except FileNotFoundError:
        return True
    except (json.JSONDecodeError, UnicodeDecodeError):
        return False
    return True


def heal_stage_lock(path: Path, good: Path) -> bool:
    """Copy a valid dvc.lock to `good`. Replace a broken one by that copy, or remove it if there is no copy.

    Prints a message and returns True if dvc.lock was broken.
    Raises UserError if it has merge conflicts, which the user has to resolve.
    """
    if path.is_file() and _CONFLICT.search(path.read_bytes()):
        raise UserError(f"{path}: contains a merge conflict. Take one side with `git checkout --ours {path}` or `--theirs`, and run again.")
    if is_sound_stage_lock(path):
        if path.is_file():
            write_bytes(good, path.read_bytes())
        return False
    _set_aside(path, good.with_name("dvc.lock.broken"))
    if good.is_file():
        write_bytes(path, good.read_bytes())
    return True


def is_sound_stage_lock(path: Path) -> bool:
    """True if dvc.lock has the format that DVC expects, or does not exist."""
    try:
        COMPILED_LOCKFILE_SCHEMA(YAML(typ="safe").load(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return True
    except (YAMLError, Invalid, UnicodeDecodeError):
        return False
    return True


def keep_copies() -> None:
    """Copy outputs that the rebuild will replace and that are not in DVC's cache, and print where. DVC discards edits without notice."""
    with Repo() as repo:
        lost = lost_when_replaced(repo)
    for output in lost:
        copy = COPIES / output.path
        copy.parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if output.path.is_dir() else shutil.copy2)(output.path, copy)
        print(
            f"repro: {output.path} was edited, or left by a killed run. This rebuild replaces it; a copy is in {copy}."
            f" To keep such an edit, run `dvc commit -f {output.stage}` before `textmill repro`.",
            file=sys.stderr,
        )


def _train_side_by_side(dvc: DvcRuns, jobs: int) -> int:
    if code := dvc("repro", "encode"):
        return code
    names = output_of(*DVC, "stage", "list", "--name-only").split("\n")
    folds = [name for name in names if name.startswith("train@")]
    with ThreadPoolExecutor(jobs) as pool:  # -s: otherwise each dvc would also lock the upstream stages, and fail
        return max(pool.map(lambda name: dvc("repro", "-s", name), folds))


def _set_aside(path: Path, aside: Path) -> None:
    if process_at_work():
        print(f"repro: {path} is broken, but a dvc process is running. Wait for it or end it, then run again.", file=sys.stderr)
        raise SystemExit(1) from None
    aside.parent.mkdir(parents=True, exist_ok=True)
    path.replace(aside)
    print(f"repro: {path} was left broken by a killed process; moved to {aside}", file=sys.stderr)


def process_at_work() -> int | None:
    """Return the id of another dvc or stage process that runs in this folder, or None."""
    own = {process.pid for process in [psutil.Process(), *psutil.Process().parents()]}
    for process in psutil.process_iter(["cmdline", "cwd"]):
        command_line = process.info["cmdline"] or []
        is_worker = is_dvc(command_line) or any(part.startswith("stages.") for part in command_line[:3])
        if process.pid not in own and process.info["cwd"] == str(Path.cwd()) and is_worker:
            return int(process.pid)
    return None
