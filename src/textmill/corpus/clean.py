"""Repairs, filters and exact duplicates over a whole corpus, with a reason for every row that does not pass."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pandas as pd

from textmill.corpus.filters import FILTERS, Pair
from textmill.corpus.repairs import REPAIRS
from textmill.errors import UserError
from textmill.progress import Progress
from textmill.settings.corpus import CleanSettings, LanguageSettings

_HISTOGRAM_EDGES = [0, 5, 10, 15, 20, 25, 30, 40, 50, 60, 80, 100, 150, 200, 300, 500, 1000, 10000]


def clean_corpus(
    pairs: pd.DataFrame, clean: CleanSettings, languages: LanguageSettings
) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, Any]]:
    """Repair every pair, then reject what a filter or the search for duplicates says.

    Returns the rows that passed (repaired), every other row as it came in with a column `reason`, and the counts:
    {"rows_in", "rows_out", "repaired": {name: rows}, "rejected": {reason: rows}, "source_characters",
    "target_characters": {"edges", "counts"}}. Each row is in one of the tables. Raises UserError if none passes.
    """
    repaired_counts = dict.fromkeys(REPAIRS, 0)
    repaired: list[Pair] = []
    reasons: list[str] = []
    seen: set[Pair | str] = set()
    with Progress("clean", len(pairs), "pairs") as progress:
        for source, target in zip(pairs["source"], pairs["target"], strict=True):
            pair, names = _repaired(Pair(source, target))
            for name in names:
                repaired_counts[name] += 1
            reason = next((name for name, rejects in FILTERS.items() if rejects(pair, clean, languages)), "")
            key = {"pair": pair, "source": pair.source, "none": None}[clean.duplicates]
            if not reason and key is not None:
                reason = "duplicate" if key in seen else ""
                seen.add(key)
            repaired.append(pair)
            reasons.append(reason)
            progress.advance()
    passed = np.array([not reason for reason in reasons], dtype=bool)
    kept = pairs.assign(source=[pair.source for pair in repaired], target=[pair.target for pair in repaired])[passed]
    rejected = pairs.assign(reason=reasons)[~passed]
    counts = Counter(rejected["reason"])
    assert len(kept) + sum(counts.values()) == len(pairs), "a row was lost"
    if kept.empty:
        raise UserError(f"clean: no pair of {len(pairs)} passed ({_listed(counts)}). Correct the sources or the settings under clean.")
    return (
        kept.reset_index(drop=True),
        rejected.reset_index(drop=True),
        {
            "rows_in": len(pairs),
            "rows_out": len(kept),
            "repaired": repaired_counts,
            "rejected": dict.fromkeys([*FILTERS, "duplicate"], 0) | dict(counts),
            "source_characters": _histogram(kept["source"]),
            "target_characters": _histogram(kept["target"]),
        },
    )


def _repaired(pair: Pair) -> tuple[Pair, set[str]]:
    """The pair after all repairs, and the names of those that changed something."""
    names = set()
    sides = []
    for text in pair:
        for name, repair in REPAIRS.items():
            mended = repair(text)
            if mended != text:
                names.add(name)
            text = mended
        sides.append(text)
    return Pair(*sides), names


def _histogram(texts: pd.Series[str]) -> dict[str, list[int]]:
    counts, _ = np.histogram([len(text) for text in texts], bins=_HISTOGRAM_EDGES)
    return {"edges": _HISTOGRAM_EDGES, "counts": counts.tolist()}


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{reason}: {count}" for reason, count in counts.most_common())
