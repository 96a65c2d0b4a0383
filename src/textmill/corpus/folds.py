"""Groups dealt out to folds: evenly by stratum, in examples and in characters."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
from sklearn.model_selection import StratifiedGroupKFold

from textmill.errors import UserError

_LENGTH_BINS = 5
_MAX_TEST_PARTS = 20
_MAX_UNITS = 2000  # scikit-learn's search takes time by groups times folds: 4 s for 20,000 times 3


def strata(pairs: pd.DataFrame, label_tasks: list[str]) -> np.ndarray:
    """What is to be spread evenly, (N,) int: the task, with the label where targets are labels, else a fifth by length."""
    lengths = characters(pairs)
    bins = pd.Series(lengths).groupby(pairs["task"].to_numpy()).transform(_fifths).astype(str)
    inner = pairs["target"].where(pairs["task"].isin(label_tasks), bins.to_numpy())
    numbers: np.ndarray = pd.factorize(pairs["task"] + "\n" + inner, sort=True)[0]
    return numbers


def characters(pairs: pd.DataFrame) -> np.ndarray:
    """Characters of source and target together, (N,) int64."""
    return (pairs["source"].str.len() + pairs["target"].str.len()).to_numpy(dtype=np.int64)


def dealt(groups: np.ndarray, stratum: np.ndarray, num_folds: int, seed: int) -> np.ndarray:
    """The fold of every pair, (N,) int64, by scikit-learn's StratifiedGroupKFold; no group is in two.

    groups, stratum: (N,). Raises UserError if there are fewer groups than folds.
    """
    num_groups = len(np.unique(groups))
    if num_groups < num_folds:
        raise UserError(
            f"split: {len(groups)} development pairs make {num_groups} groups, too few for split.num_folds = {num_folds}."
            " Use more data, fewer folds, or a higher split.similarity."
        )
    units = _bundled(groups, stratum, max(_MAX_UNITS, num_folds), seed)
    common = _common(stratum, num_folds)
    fold = np.full(len(groups), -1, dtype=np.int64)
    splitter = StratifiedGroupKFold(num_folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The least populated class")
        for number, (_, rows) in enumerate(splitter.split(np.zeros(len(groups)), common, units)):
            fold[rows] = number
    if len(np.unique(fold)) < num_folds:
        raise UserError(f"split: the groups are too uneven for {num_folds} folds: one stays empty. Use fewer (split.num_folds).")
    return fold


def test_rows(groups: np.ndarray, stratum: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Which pairs are the test set, (N,) bool: as many of up to 20 stratified parts as come nearest to `share`.

    Raises UserError if there are fewer than two groups.
    """
    num_groups = len(np.unique(groups))
    if num_groups < 2:
        raise UserError(
            f"split: {len(groups)} pairs make {num_groups} groups of similar pairs, too few for a test set. Use more data or a higher split.similarity."
        )
    choices = [(parts, max(1, round(share * parts))) for parts in range(2, min(_MAX_TEST_PARTS, num_groups) + 1)]
    parts, chosen = min(choices, key=lambda each: (round(abs(each[1] / each[0] - share), 9), each[0]))
    part = dealt(groups, stratum, parts, seed)
    sizes = np.bincount(part, minlength=parts)
    nearest = np.argsort(np.abs(sizes - share * len(groups) / chosen), kind="stable")[:chosen]
    is_test: np.ndarray = np.isin(part, nearest)
    return is_test


def imbalance(part: np.ndarray, weights: np.ndarray) -> float:
    """How much more than the mean the fullest fold holds: 0.02 is 2 %. part: (N,), the fold of each pair. weights: (N,)."""
    sizes = np.bincount(part, weights=weights)
    return float(sizes.max() / sizes.mean() - 1)


def _fifths(lengths: pd.Series[int]) -> pd.Series[int]:
    edges = np.quantile(lengths, np.linspace(0, 1, _LENGTH_BINS + 1)[1:-1])
    return pd.Series(np.searchsorted(edges, lengths), index=lengths.index)


def _common(stratum: np.ndarray, least: int) -> np.ndarray:
    """Strata with fewer pairs than folds become one, and one with all others if that has too few still."""
    sizes = np.bincount(stratum)
    is_rare = sizes[stratum] < least
    merged = np.where(is_rare, -1, stratum)
    return np.zeros_like(stratum) if 0 < is_rare.sum() < least else merged


def _bundled(groups: np.ndarray, stratum: np.ndarray, most: int, seed: int) -> np.ndarray:
    """Groups, the smallest of a stratum put together at random until there are about `most`: what is together stays so."""
    names, numbers, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    if len(names) <= most:
        units: np.ndarray = numbers
        return units
    room = 2 * len(groups) / most
    first = np.unique(numbers, return_index=True)[1]
    order = np.random.default_rng(seed).permutation(len(names))
    order = order[np.argsort(stratum[first][order], kind="stable")]
    filled = np.cumsum(np.where(sizes[order] < room, sizes[order], 0))
    bundle = np.where(sizes[order] < room, (filled / room).astype(np.int64), len(names) + np.arange(len(names)))
    unit = np.empty(len(names), dtype=np.int64)
    unit[order] = bundle
    return unit[numbers]
