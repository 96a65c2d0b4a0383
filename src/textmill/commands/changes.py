"""Compare metrics and params with another commit, as Markdown.

The text is also appended to the file $GITHUB_STEP_SUMMARY, if it is set. Rows are sorted, because DVC prints them in random order.
"""

from __future__ import annotations

import os
from pathlib import Path

from textmill.commands.asking import DVC, output_of


def main(base: str) -> int:
    parts = ["## Metrics", _table("metrics", "diff", base, "--md", "--targets", "metrics/summary.json")]
    parts += ["## Parameters", _table("params", "diff", base, "--md", "--targets", "params.yaml")]
    text = "\n\n".join(parts) + "\n"
    print(text)
    if summary := os.environ.get("GITHUB_STEP_SUMMARY"):
        with Path(summary).open("a", encoding="utf-8") as file:
            file.write(text)
    return 0


def _table(*arguments: str) -> str:
    lines = output_of(*DVC, *arguments).split("\n")
    return "\n".join([*lines[:2], *sorted(lines[2:])]) if len(lines) > 2 else "Nothing changed."
