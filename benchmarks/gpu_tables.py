"""Format the results of benchmarks/gpu.py as Markdown, for the terminal and for docs/gpu.md."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from textmill.base.files import read_json, write_text

# Heading and format of each key of the records.
_COLUMNS: dict[str, tuple[str, str]] = {
    "target_tokens_per_second": ("target tokens/s", "{:,.0f}"),
    "steps_per_second": ("steps/s", "{:,.1f}"),
    "mfu": ("MFU", "{:.1%}"),
    "idle_share": ("GPU idle", "{:.0%}"),
    "peak_gpu_mb": ("peak GPU memory, MB", "{:,}"),
    "bleu_lowercase": ("BLEU, lower-cased", "{:.2f}"),
    "bleu": ("BLEU, cased", "{:.2f}"),
    "standard_deviation": ("standard deviation", "{:.2f}"),
    "validation_loss": ("validation loss", "{:.3f}"),
    "steps": ("steps", "{:,}"),
    "seconds": ("seconds", "{:.0f}"),
    "difference": ("difference", "{:.1e}"),
    "tolerance": ("tolerance", "{:.0e}"),
    "identical": ("identical", "{:.1%}"),
    "score_difference": ("score difference", "{:.1e}"),
    "ratio": ("ratio", "{:.2f}"),
    "cost": ("cost", "{:.1%}"),
    "goal": ("goal", "{:g}"),
    "holds": ("holds", "{}"),
    "failed": ("failed", "{}"),
}
_NOT_MEASURED = "Not measured."


def table_of(result: dict[str, Any]) -> str:
    """Return the table of a part, with a line about the hardware above it."""
    records = result["records"]
    keys = [key for key in _COLUMNS if any(record.get(key) is not None for record in records)]
    lines = [f"| {result['part']} | " + " | ".join(_COLUMNS[key][0] for key in keys) + " |", "|---" * (len(keys) + 1) + "|"]
    lines += ["| " + " | ".join([record["name"], *(_cell(key, record.get(key)) for key in keys)]) + " |" for record in records]
    machine = result["machine"]
    hardware = machine["gpu"] or machine["cpu"]
    ended = "" if result["complete"] else f" Not whole: {result['ended']}."
    heading = f"{hardware}, torch {machine['versions']['torch']}, {result['seconds']:.0f} s.{ended}"
    return "\n".join([heading, "", *lines])


def _cell(key: str, value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value.strip().split("\n")[-1][:100].replace("|", "\\|")
    return _COLUMNS[key][1].format(value)


def replace_tables(page: Path, results: Path) -> None:
    """Write the tables into a page, between the marks `<!-- gpu PART -->` and `<!-- end -->`."""
    write_text(page, with_tables(page.read_text(encoding="utf-8"), results))


def with_tables(text: str, results: Path) -> str:
    """Return the text of a page with the tables of the present results. A part without results is marked as not measured."""

    def table(mark: re.Match[str]) -> str:
        file = results / f"gpu_{mark[1]}.json"
        content = table_of(read_json(file)) if file.exists() else _NOT_MEASURED
        return f"<!-- gpu {mark[1]} -->\n{content}\n<!-- end -->"

    return re.sub(r"<!-- gpu (\w+) -->\n.*?<!-- end -->", table, text, flags=re.DOTALL)
