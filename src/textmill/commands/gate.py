"""Check that the results of this commit are up to date and pushed. It works in a fresh clone without data and models.

1. Pull the files in data/raw that `dvc add` tracks, because `collect` depends on the whole folder.
2. Run `dvc status --json`, and ignore data that is merely not pulled. (`dvc status -q` would fail in a clean clone that has pulled
   nothing, and `dvc repro --dry --allow-missing` would pass in a dirty one that has.)
3. Check that every output in dvc.lock is in the default remote.
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
    """Run the checks. Returns exit code 0 if they pass, 1 if the commit has a problem. Raises UserError if a check cannot be run."""
    wrong = [*_not_pulled(), *_stale(), *_not_pushed()]
    print("\n".join(wrong) or "gate: dvc.lock is up to date, and all outputs are in the remote")
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
    """Yield the stages whose entry in dvc.lock is out of date, with the reason."""
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
    """True for files that git tracks, which therefore cannot be merely not pulled."""
    return path.startswith(("metrics/", "src/", "stages/")) or path in ("params.yaml", "dvc.yaml", "packages.yaml")


def _not_pushed() -> Iterator[str]:
    with Repo() as repo:
        if not repo.config["core"].get("remote"):
            yield "gate: there is no default remote. Add one with `dvc remote add -d NAME ADDRESS`."
            return
        status = repo.status(cloud=True, all_commits=False)
    yield from (f"{path}: {state} in the remote. Run `make push`." for path, state in status.items() if state in ("new", "missing"))
