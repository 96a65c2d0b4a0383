"""Groups assigned to folds and to the test set by their hash: evenly by stratum, and so that old pairs stay where they are when data grow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from pandas.util import hash_array
from scipy.sparse import csr_matrix

from textmill.base.errors import UserError
from textmill.text.hashing import hashes64

_LENGTH_BINS = 5
# How much more than its share a part may hold before groups go elsewhere: a share of the smallest part, or a few pairs.
# A wider tolerance moves fewer pairs when data grow.
_TOLERANCE, _TOLERATED_PAIRS = 0.005, 1
_INNER_TOLERANCE, _INNER_TOLERATED_PAIRS = 0.02, 2  # of each stratum, and of all characters
_CHUNK_GROUPS = 100_000


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


class Assignable(NamedTuple):
    """What is assigned to parts, for N pairs. groups: (N,) int64. keys: (N,) uint64, equal in a group, by which it is hashed.
    stratum: (N,) int64. lengths: (N,) int64, characters."""

    groups: np.ndarray
    keys: np.ndarray
    stratum: np.ndarray
    lengths: np.ndarray


def fold_rows(pairs: Assignable, num_folds: int, seed: str) -> np.ndarray:
    """The fold of every pair, (N,) int64; no group is in two. seed: another one gives other folds.

    Raises UserError if there are fewer groups than folds.
    """
    num_groups = len(np.unique(pairs.groups))
    if num_groups < num_folds:
        raise UserError(
            f"{len(pairs.groups)} development pairs make {num_groups} groups, too few for split.num_folds = {num_folds}."
            " Use more data, fewer folds, or a higher split.similarity."
        )
    return _assigned(pairs, np.full(num_folds, 1 / num_folds), seed)


def test_rows(pairs: Assignable, share: float, seed: str) -> np.ndarray:
    """Which pairs are the test set, (N,) bool: `share` of all pairs, of each stratum and of all characters, up to the size of a group.

    seed: another one gives another test set. Raises UserError if there are fewer than two groups.
    """
    num_groups = len(np.unique(pairs.groups))
    if num_groups < 2:
        raise UserError(
            f"{len(pairs.groups)} pairs make {num_groups} groups of similar pairs, too few for a test set."
            " Use more data or a higher split.similarity."
        )
    is_test: np.ndarray = _assigned(pairs, np.array([1 - share, share]), seed) == 1
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


def _assigned(pairs: Assignable, shares: np.ndarray, seed: str) -> np.ndarray:
    """The part of every pair, (N,) int64. shares: (P,), of the pairs that each part should hold.

    Each group has an order of parts, which its hash names. It goes to the first part with room for it, or to the one that it
    overfills least. So a new group moves old ones only where a part is full, and only the few that came last.
    Large groups come first: the small ones then even out what those leave.
    """
    _, first, numbers, sizes = np.unique(pairs.groups, return_index=True, return_inverse=True, return_counts=True)
    amounts = _amounts(numbers, _common(pairs.stratum, len(shares)), pairs.lengths)
    room = _Room(amounts, shares)
    order = np.lexsort((_salted(pairs.keys[first], f"{seed} order"), -np.frexp(sizes)[1]))
    part = np.empty(len(first), dtype=np.int64)
    for start in range(0, len(order), _CHUNK_GROUPS):
        chosen = order[start : start + _CHUNK_GROUPS]
        preferred = _preferred(pairs.keys[first[chosen]], shares, seed).tolist()
        for place, (group, parts) in enumerate(zip(chosen.tolist(), preferred, strict=True)):
            part[group] = room.fill(group, parts, len(order) - start - place)
    return part[numbers]


def _amounts(numbers: np.ndarray, stratum: np.ndarray, lengths: np.ndarray) -> csr_matrix:
    """What each of G groups holds, (G, 2 + S): pairs; characters, in pairs of mean length; pairs of each stratum."""
    ones = np.ones(len(numbers))
    columns = [
        np.zeros(len(numbers), dtype=np.int64),
        np.ones(len(numbers), dtype=np.int64),
        2 + np.unique(stratum, return_inverse=True)[1],
    ]
    values = [ones, lengths / max(lengths.mean(), 1), ones]
    amounts = csr_matrix((np.concatenate(values), (np.tile(numbers, 3), np.concatenate(columns))))
    amounts.sort_indices()  # pairs first
    return amounts


class _Room:
    """How much more each part takes, of each column of `amounts`."""

    def __init__(self, amounts: csr_matrix, shares: np.ndarray) -> None:
        """amounts: (G, C), of each group. shares: (P,)."""
        totals = np.asarray(amounts.sum(axis=0)).ravel()  # (C,)
        slack = np.maximum(_INNER_TOLERANCE * shares.min() * totals, _INNER_TOLERATED_PAIRS)
        slack[0] = max(_TOLERANCE * shares.min() * totals[0], _TOLERATED_PAIRS)
        self._left = (np.outer(shares, totals) + slack).tolist()  # P lists of C
        self._empty = set(range(len(shares)))
        self._starts, self._columns, self._values = amounts.indptr.tolist(), amounts.indices.tolist(), amounts.data.tolist()

    def fill(self, group: int, parts: Sequence[int], num_left: int) -> int:
        """Put a group into a part, which is returned.

        parts: all, the most preferred first. num_left: groups that are not in a part yet, this one included; as soon as
        they are as few as the empty parts, they go there.
        """
        if num_left <= len(self._empty):
            parts = [part for part in parts if part in self._empty]
        cells = range(self._starts[group], self._starts[group + 1])
        best, least = parts[0], self._excess(parts[0], cells)
        for part in parts[1:]:
            if least == (0, 0):
                break
            excess = self._excess(part, cells)
            if excess < least:
                best, least = part, excess
        self._empty.discard(best)
        for cell in cells:
            self._left[best][self._columns[cell]] -= self._values[cell]
        return best

    def _excess(self, part: int, cells: range) -> tuple[float, float]:
        """By how much a group would overfill a part: in pairs, and in all else together."""
        left = self._left[part]
        pairs, *rest = (max(self._values[cell] - left[self._columns[cell]], 0) for cell in cells)
        return pairs, sum(rest)


def _preferred(keys: np.ndarray, shares: np.ndarray, seed: str) -> np.ndarray:
    """The order in which each group takes the parts, (G, P): each is first for its share of the groups (weighted rendezvous hashing)."""
    uniform = np.stack([_salted(keys, f"{seed} part {part}") for part in range(len(shares))], axis=1) / 2.0**64  # (G, P)
    return np.argsort(-np.log(np.maximum(uniform, 2.0**-64)) / shares, axis=1, kind="stable")


def _salted(keys: np.ndarray, salt: str) -> np.ndarray:
    """Another hash of each key, (N,) uint64."""
    hashed: np.ndarray = hash_array(keys ^ hashes64([salt]))  # of numbers: the finalizer of splitmix64
    return hashed
