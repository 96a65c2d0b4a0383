"""`dvc repro`, made safe to start after anything: what `make repro` runs.

    python -m scripts.repro [JOBS]

1. Files of DVC that a killed process left broken are mended, unless a dvc process is alive (DVC itself would refuse to run until
   somebody does it by hand): .dvc/tmp/rwlock is set aside, and dvc.lock becomes what it was before the last run. What that run
   had finished comes back from DVC's run cache.
2. With JOBS above 1, everything before the folds is brought up to date, then that many folds train side by side.
3. A rebuild whose results all equal the committed dvc.lock, as the first one of a fresh clone does, gives DVC no reason to run `track`:
   it is run then, so that the rebuild is in MLflow with its numbers and its model.
4. After the run the workspace must equal dvc.lock: when the disk is full, `dvc repro` can exit with 0 and files missing.
5. Ctrl-C, SIGTERM and the death of make end dvc and its stages too, in order (scripts/dvc_runs.py).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
from dvc.schema import COMPILED_LOCKFILE_SCHEMA
from ruamel.yaml import YAML, YAMLError
from voluptuous import Invalid

from scripts.dvc_runs import DvcRuns
from textmill import command, tracking
from textmill.files import write_bytes
from textmill.lifetime import is_dvc, process_key
from textmill.publication import is_published

_LOCK, _STAGE_LOCK, _GOOD_STAGE_LOCK = Path(".dvc/tmp/rwlock"), Path("dvc.lock"), Path(".dvc/tmp/dvc.lock.good")


def main(jobs: int) -> int:
    dvc = DvcRuns()
    heal_lock(_LOCK)
    heal_stage_lock(_STAGE_LOCK, _GOOD_STAGE_LOCK)
    os.environ.setdefault("TEXTMILL_REBUILD", str(process_key(os.getpid())))
    if jobs > 1 and (code := _train_side_by_side(dvc, jobs)):
        return code
    if code := dvc("repro"):
        return code
    if tracking.was_opened() and not is_published() and (code := dvc("repro", "-f", "-s", "track")):
        return code
    stale = json.loads(subprocess.run([*_DVC, "status", "--json"], capture_output=True, text=True, check=True).stdout or "{}")
    if stale:
        print(f"repro: after the run the workspace differs from dvc.lock in {', '.join(stale)}: is the disk full? Make room, run again.")
        return 1
    return 0


def heal_lock(path: Path) -> bool:
    """Set DVC's lock file aside if it is not JSON and no dvc process is alive; says so, and returns True, if it did."""
    try:
        json.loads(path.read_text(encoding="utf-8") or "broken")
    except FileNotFoundError:
        return False
    except (json.JSONDecodeError, UnicodeDecodeError):
        _set_aside(path, path.with_suffix(".broken"))
        return True
    return False


def heal_stage_lock(path: Path, good: Path) -> bool:
    """Keep a copy of a sound dvc.lock as `good`; put that copy (or nothing) in place of a broken one, say so, and return True."""
    try:
        COMPILED_LOCKFILE_SCHEMA(YAML(typ="safe").load(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return False
    except (YAMLError, Invalid, UnicodeDecodeError):
        _set_aside(path, good.with_name("dvc.lock.broken"))
        if good.is_file():
            write_bytes(path, good.read_bytes())
        return True
    write_bytes(good, path.read_bytes())
    return False


def _train_side_by_side(dvc: DvcRuns, jobs: int) -> int:
    if code := dvc("repro", "encode"):
        return code
    names = subprocess.run([*_DVC, "stage", "list", "--name-only"], capture_output=True, text=True, check=True).stdout.split("\n")
    folds = [name for name in names if name.startswith("train@")]
    with ThreadPoolExecutor(jobs) as pool:  # -s: with its upstream stages, dvc would ask for their locks too, and fail
        return max(pool.map(lambda name: dvc("repro", "-s", name), folds))


_DVC = [sys.executable, "-m", "dvc"]


def _set_aside(path: Path, aside: Path) -> None:
    if _is_dvc_alive():
        print(f"repro: {path} is broken and a dvc process is alive; wait for it, or end it, and run again.", file=sys.stderr)
        raise SystemExit(1) from None
    aside.parent.mkdir(parents=True, exist_ok=True)
    path.replace(aside)
    print(f"repro: {path} was left broken by a killed process; set aside as {aside}", file=sys.stderr)


def _is_dvc_alive() -> bool:
    own = {process.pid for process in [psutil.Process(), *psutil.Process().parents()]}
    for process in psutil.process_iter(["cmdline", "cwd"]):
        arguments = process.info["cmdline"] or []
        if process.pid not in own and process.info["cwd"] == str(Path.cwd()) and is_dvc(arguments):
            return True
    return False


if __name__ == "__main__":
    command.run("repro", lambda: main(int(sys.argv[1]) if len(sys.argv) > 1 else 1))
