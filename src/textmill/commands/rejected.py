"""Show rows that cleaning has dropped."""

from __future__ import annotations

from typing import Any

from textmill.base import paths
from textmill.base.errors import UserError
from textmill.base.tables import read_table


def main(reason: str, number: int, seed: int) -> int:
    """Print the number of dropped rows per reason, and a sample of them. Raises UserError for a reason that did not occur."""
    if not paths.REJECTED.is_file():
        raise UserError(f"{paths.REJECTED}: no such file. Run `textmill repro`, or `dvc pull clean`.")
    rows = read_table(paths.REJECTED)
    counts = rows["reason"].value_counts()
    if reason and reason not in counts:
        raise UserError(f"no row was dropped as {reason}. Reasons: {', '.join(counts.index) or 'none, because no row was dropped'}.")
    print("\n".join(f"{count:>10,}  {name}" for name, count in counts.items()))
    some = rows[rows["reason"] == reason] if reason else rows
    for row in some.sample(min(number, len(some)), random_state=seed).sort_index().itertuples():
        print(_shown(row))
    return 0


def _shown(row: Any) -> str:
    task = f" ({row.task})" if row.task else ""
    return f"\n{row.reason}  {row.origin}:{row.line}{task}\n  {_one_line(row.source)}\n  {_one_line(row.target)}"


def _one_line(text: str) -> str:
    """Return a text as one line, with control characters escaped."""
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in text) or "(empty)"
