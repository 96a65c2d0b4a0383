"""Scores of parts of the test set: a mean over all of it hides where a model is good and where it is not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from textmill.evaluate.metrics.interface import Metric, Predictions, resamplings
from textmill.text.placeholders import placeholders

MIN_ROWS = 30  # of fewer, a bootstrap interval says little and is too narrow
OTHERS = ""
_MAX_SLICES = 20  # of one grouping; the smallest become OTHERS
_BOUNDS = (10, 20, 40, 80, 160, 320)  # the longest source of each slice, in characters
LENGTHS = [*(f"{low + 1}–{high}" for low, high in zip((0, *_BOUNDS), _BOUNDS, strict=False)), f"> {_BOUNDS[-1]}"]


@dataclass(frozen=True)
class Slice:
    """rows: of the test set. score, baseline: 0..100, of a system and of one to compare with. low, high: the 95 % interval of score, from MIN_ROWS rows on."""

    name: str
    rows: int
    score: float
    low: float | None
    high: float | None
    baseline: float


def length_names(test: pd.DataFrame) -> list[str]:
    """Of every row, the range that the length of its source is in."""
    return [LENGTHS[place] for place in np.searchsorted(_BOUNDS, test["source"].str.len())]


def source_names(test: pd.DataFrame) -> list[str]:
    """Of every row, the package or the file that it comes from."""
    return [origin.removeprefix("data/raw/") if origin.startswith("data/raw/") else origin.split("/")[0] for origin in test["origin"]]


def content_names(test: pd.DataFrame) -> list[str]:
    """Of every row, whether a program fills something in."""
    return ["placeholders" if placeholders(source) else "no_placeholders" for source in test["source"]]


def task_names(test: pd.DataFrame) -> list[str]:
    """Of every row, its task."""
    return list(test["task"])


GROUPINGS: dict[str, Callable[[pd.DataFrame], list[str]]] = {
    "length": length_names,
    "source": source_names,
    "content": content_names,
    "task": task_names,
}


def all_slices(
    metric: Metric, test: pd.DataFrame, predictions: Predictions, baseline: Predictions, samples: int, seed: int
) -> dict[str, list[Slice]]:
    """The slices of every grouping that has two or more: by length in order of length, else the best first.

    test: columns id, source, origin, task. predictions, baseline: the outputs of two systems for its rows.
    """
    own, other = metric.statistics(predictions), metric.statistics(baseline)
    found = {}
    for name, grouping in GROUPINGS.items():
        slices = scored_slices(metric, grouping(test), own, other, samples, seed)
        if len(slices) > 1:
            found[name] = sorted(slices, key=lambda each: LENGTHS.index(each.name) if name == "length" else -each.score)
    return found


def scored_slices(metric: Metric, names: Sequence[str], own: np.ndarray, other: np.ndarray, samples: int, seed: int) -> list[Slice]:
    """One slice per name, by name; every row is in exactly one. names: one per row. own, other: statistics of two systems, one row per segment."""
    by_size = sorted(Counter(names).items(), key=lambda pair: (-pair[1], pair[0]))
    kept = {name for name, _ in by_size[: _MAX_SLICES if len(by_size) <= _MAX_SLICES else _MAX_SLICES - 1]}
    labels = np.array([name if name in kept else OTHERS for name in names], dtype=object)
    return [_scored(metric, name, own[labels == name], other[labels == name], samples, seed) for name in sorted(set(labels))]


def _scored(metric: Metric, name: str, own: np.ndarray, other: np.ndarray, samples: int, seed: int) -> Slice:
    rows, score, baseline = len(own), metric.score(own), metric.score(other)
    if rows < MIN_ROWS:
        return Slice(name, rows, score, None, None, baseline)
    low, high = np.nanquantile(metric.resampled(own, resamplings(rows, samples, seed)), [0.025, 0.975])
    return Slice(name, rows, score, float(low), float(high), baseline)
