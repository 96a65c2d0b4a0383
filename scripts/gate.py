"""Is what was committed reproduced and pushed? Works on a cold clone, without pulling data or models.

    python -m scripts.gate

First pulls what `dvc add` tracks in data/raw: `collect` depends on that folder as a whole.
`dvc status -q` fails on a clean clone that has pulled nothing, and `dvc repro --dry --allow-missing` passes on a dirty
one that has. So: `dvc status --json`, from which data that is merely not here is taken out; and every output of
dvc.lock must be in the default remote.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dvc.repo import Repo

from textmill import command


def main() -> int:
    if raw := sorted(map(str, Path("data/raw").glob("*.dvc"))):
        subprocess.run([sys.executable, "-m", "dvc", "pull", "-q", *raw], check=False)  # what is missing shows below
    wrong = [*_stale(), *_not_pushed()]
    print("\n".join(wrong) or "gate: dvc.lock is true for this commit, and all of it is in the remote")
    return 1 if wrong else 0


def _stale() -> Iterator[str]:
    """Stages whose entry in dvc.lock is not true for this commit, and why."""
    tracked = set(_output("git", "ls-files").split("\n"))
    status: dict[str, list[Any]] = json.loads(_output(sys.executable, "-m", "dvc", "status", "--json") or "{}")
    for stage, changes in status.items():
        for change in changes:
            if isinstance(change, str):
                yield f"{stage}: {change}"
                continue
            for path, what in ((path, what) for paths in change.values() for path, what in paths.items()):
                is_absent_data = what == "not in cache" or (what == "deleted" and path not in tracked and not _is_small(path))
                if not is_absent_data:
                    yield f"{stage}: {path} {what}"


def _is_small(path: str) -> bool:
    """Files that git holds, so that they cannot be merely `not pulled`."""
    return path.startswith(("metrics/", "src/", "stages/")) or path in ("params.yaml", "dvc.yaml", "packages.yaml")


def _not_pushed() -> Iterator[str]:
    with Repo() as repo:
        if not repo.config["core"].get("remote"):
            yield "gate: no default remote; add one with `dvc remote add -d NAME ADDRESS`"
            return
        status = repo.status(cloud=True, all_commits=False)
    yield from (f"{path}: {state} in the remote; run `make push`" for path, state in status.items() if state in ("new", "missing"))


def _output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


if __name__ == "__main__":
    command.run("gate", main)
