"""Find training pairs that overlap with the test set."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
import pandas as pd

from textmill.similarity.near_duplicates import Crowd, similar_batches
from textmill.split.groups import ALL_CONTENT, Kinds, compared_texts, has_content
from textmill.split.settings import SplitSettings
from textmill.text.normalization import letters_only

# In the order of the checks. The first one that applies is the reason.
REASONS = ("user_group", "equal_source", "near_source", "overlap")
_WIDE = re.compile(r"([\u1100-\u11ff\u2e80-\u2fdf\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff])")


def contaminated(training: pd.DataFrame, test: pd.DataFrame, split: SplitSettings, kinds: Kinds = ALL_CONTENT) -> pd.DataFrame:
    """Return the training pairs that overlap with the test set, as columns `row`, `test_id` (the test pair) and `reason`, sorted by row.

    user_group: both have the same non-empty group.
    equal_source, near_source: equal or similar sources, as in `group_pairs`.
    overlap: a source or target shares `split.overlap_units` words in a row with a source or target of the test set. In Chinese,
        Japanese and Korean, a character counts as a word. Prompts and labels do not count.
    """
    found = [
        _shared(training["group"], test["group"], test, "user_group"),
        _shared(compared_texts(training, kinds), compared_texts(test, kinds), test, "equal_source"),
        near_sources(training, test, split.similarity, kinds),
        _overlapping(training, test, split.overlap_units, kinds),
    ]
    return pd.concat(found).drop_duplicates("row").sort_values("row").reset_index(drop=True)


def near_sources(training: pd.DataFrame, test: pd.DataFrame, similarity: float, kinds: Kinds = ALL_CONTENT) -> pd.DataFrame:
    """Return training pairs whose source has at least `similarity` to one of the test set, with the columns of `contaminated`."""
    names, texts = np.unique(np.array(compared_texts(training, kinds) + compared_texts(test, kinds), dtype=object), return_inverse=True)
    training_texts, test_texts = texts[: len(training)], texts[len(training) :]
    test_of = np.full(len(names), -1, dtype=np.int64)
    test_of[test_texts[::-1]] = np.arange(len(test))[::-1]  # the first of several
    is_training = np.isin(np.arange(len(names)), training_texts)
    nearest, best = np.full(len(names), -1, dtype=np.int64), np.zeros(len(names))
    for first, second, value in similar_batches(names.tolist(), similarity, Crowd()) if similarity < 1 else ():
        for one, other in ((first, second), (second, first)):
            crosses = is_training[one] & (test_of[other] >= 0)
            for text, place, near in zip(one[crosses].tolist(), test_of[other][crosses].tolist(), value[crosses].tolist(), strict=True):
                if (near, -place) > (best[text], -nearest[text]):
                    nearest[text], best[text] = place, near
    rows = np.flatnonzero(nearest[training_texts] >= 0)
    return _table(rows, nearest[training_texts][rows], test, "near_source")


def units(text: str) -> list[str]:
    """Split a text into words, and into characters in scripts without spaces. Case, digits and punctuation are ignored."""
    return _WIDE.sub(r" \1 ", letters_only(text)).split()


def runs(text: str, length: int) -> Iterator[str]:
    """Yield all runs of `length` units. A shorter text has none."""
    if len(text) >= length:
        words = units(text)
        yield from (" ".join(words[start : start + length]) for start in range(len(words) - length + 1))


def _shared(
    values: Sequence[str] | pd.Series[str], test_values: Sequence[str] | pd.Series[str], test: pd.DataFrame, reason: str
) -> pd.DataFrame:
    places = {value: place for place, value in reversed(list(enumerate(test_values))) if value}
    rows = [row for row, value in enumerate(values) if value in places]
    return _table(rows, [places[value] for value in values if value in places], test, reason)


def _overlapping(training: pd.DataFrame, test: pd.DataFrame, length: int, kinds: Kinds) -> pd.DataFrame:
    known: dict[str, int] = {}
    for place, text in _contents(test, kinds):
        for run in runs(text, length):
            known.setdefault(run, place)
    found: dict[int, int] = {}
    for row, text in _contents(training, kinds):
        places = (known[run] for run in runs(text, length) if run in known)
        if (first := next(places, None)) is not None:
            found.setdefault(row, first)
    return _table(list(found), list(found.values()), test, "overlap")


def _contents(pairs: pd.DataFrame, kinds: Kinds) -> Iterator[tuple[int, str]]:
    """Yield the sides that are content, with their row: all sources, then all targets."""
    sides: tuple[Literal["source", "target"], ...] = ("source", "target")
    for side in sides:
        wanted = {task: has_content(task, side, kinds) for task in set(pairs["task"])}
        yield from ((row, text) for row, (text, task) in enumerate(zip(pairs[side], pairs["task"], strict=True)) if wanted[task])


def _table(rows: Sequence[int] | np.ndarray, places: Sequence[int] | np.ndarray, test: pd.DataFrame, reason: str) -> pd.DataFrame:
    ids = test["id"].to_numpy(dtype=object)[np.asarray(places, dtype=np.int64)]
    return pd.DataFrame({"row": np.asarray(rows, dtype=np.int64), "test_id": ids, "reason": reason})
