"""Which outputs a reader sees: chosen by rank, not by hand."""

from __future__ import annotations

from typing import Any

import pandas as pd

from textmill.report.results import TaskResults
from textmill.text.placeholders import placeholders

MODELS = ("exported", "student", "ensemble")
_NUM_SAMPLES, _NUM_WORST = 4, 50
_HEADLINE_RANKS = (0.1, 0.5, 0.9)
_READABLE = (20, 120)  # characters of a source: longer than a word, shorter than a paragraph

Sample = dict[str, Any]


def ranked_outputs(results: TaskResults) -> pd.DataFrame:
    """Source, reference and outputs of MODELS and of one baseline, from the worst score of the exported model to the best.

    Other columns: `score`, in the deciding metric; `rank`, lower is worse; `origin` and `line` of the test row. Rows that the model
    could not score are left out if others have a score.
    """
    table = results.predictions["exported"][["source", "reference", "score"]].copy()
    for name in (*MODELS, results.memory):
        table[name] = results.predictions[name]["hypothesis"]
    table["origin"], table["line"] = results.test["origin"].to_numpy(), results.test["line"].to_numpy()
    table["rank"] = table["score"] if results.is_higher_better else -table["score"]
    scored = table[table["score"].notna()]
    return (scored if len(scored) else table).sort_values("rank", kind="stable")


def headline_samples(ranked: pd.DataFrame) -> list[Sample]:
    """Three outputs: a poor one, the middle one and a good one."""
    return _records(ranked.iloc[sorted({int(share * len(ranked)) for share in _HEADLINE_RANKS})])


def output_samples(ranked: pd.DataFrame) -> dict[str, list[Sample]]:
    """Some outputs by kind, all different from one another: middle, best, worst, with placeholders. A kind may be empty."""
    lengths = ranked["source"].str.len()
    readable = ranked[(lengths >= _READABLE[0]) & (lengths <= _READABLE[1])]
    shown = readable if len(readable) >= 4 * _NUM_SAMPLES else ranked
    middle = max(len(shown) // 2 - _NUM_SAMPLES // 2, 0)
    has_placeholders = shown[[bool(placeholders(source)) for source in shown["source"]]]
    step = max(len(has_placeholders) // _NUM_SAMPLES, 1)
    candidates = {
        "middle": shown.iloc[middle : middle + _NUM_SAMPLES],
        "best": shown.iloc[::-1],
        "worst": shown,
        "placeholders": has_placeholders.iloc[step // 2 :: step],
    }
    parts: dict[str, pd.DataFrame] = {}
    for kind, rows in candidates.items():
        taken = [label for part in parts.values() for label in part.index]
        parts[kind] = rows[~rows.index.isin(taken)].head(_NUM_SAMPLES)
    return {kind: _records(rows) for kind, rows in parts.items()}


def worst_outputs(ranked: pd.DataFrame) -> list[Sample]:
    """The outputs with the worst score; of equal ones, the longest source first."""
    lengths = ranked["source"].str.len()
    return _records(ranked.assign(length=-lengths).sort_values(["rank", "length"], kind="stable").head(_NUM_WORST))


def _records(rows: pd.DataFrame) -> list[Sample]:
    return [{str(key): value for key, value in row.items()} for row in rows.to_dict("records")]
