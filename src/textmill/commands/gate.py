"""Is what was committed reproduced and pushed? Works on a cold clone, without pulling data or models.

First pulls what `dvc add` tracks in data/raw: `collect` depends on that folder as a whole.
`dvc status -q` fails on a clean clone that has pulled nothing, and `dvc repro --dry --allow-missing` passes on a dirty
one that has. So: `dvc status --json`, from which data that is merely not here is taken out; and every output of
dvc.lock must be in the default remote.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from dvc.repo import Repo

from textmill.base.errors import UserError
from textmill.commands.asking import DVC, output_of
from textmill.commands.prove import unproved


def main(prove: Sequence[str] = ()) -> int:
    """Exit code 0: passed, 1: something is wrong with the commit. Raises UserError if that could not be found out."""
    wrong = [*_not_pulled(), *_stale(), *_not_pushed()]
    print("\n".join(wrong) or "gate: dvc.lock is true for this commit, and all of it is in the remote")
    different = list(unproved(prove)) if prove else []
    if prove:
        print("\n".join(different) or "gate: a rerun gives the same bytes")
    return 1 if wrong or different else 0


def _not_pulled() -> Iterator[str]:
    if raw := sorted(map(str, Path("data/raw").glob("*.dvc"))):
        try:
            output_of(*DVC, "pull", "-q", *raw)
        except UserError as error:
            yield f"gate: {error}"


def _stale() -> Iterator[str]:
    """Stages whose entry in dvc.lock is not true for this commit, and why."""
    tracked = set(output_of("git", "ls-files").split("\n"))
    status: dict[str, list[Any]] = json.loads(output_of(*DVC, "status", "--json"))
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
