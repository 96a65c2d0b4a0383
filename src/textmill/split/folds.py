"""Assign groups to folds and to the test set by hash, balanced by stratum. When data is added, most old pairs stay where they are."""

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
# A part may exceed its share by this fraction of the smallest part, or by this many pairs. Then groups go to other parts.
# A wider tolerance moves fewer pairs when data is added.
_TOLERANCE, _TOLERATED_PAIRS = 0.005, 1
_INNER_TOLERANCE, _INNER_TOLERATED_PAIRS = 0.02, 2  # for each stratum, and for characters
_CHUNK_GROUPS = 100_000


def strata(pairs: pd.DataFrame, label_tasks: list[str]) -> np.ndarray:
    """Return the stratum of every pair, (N,) int: its task, combined with its label or, if targets are not labels, its length quintile."""
    lengths = characters(pairs)
    bins = pd.Series(lengths).groupby(pairs["task"].to_numpy()).transform(_fifths).astype(str)
    inner = pairs["target"].where(pairs["task"].isin(label_tasks), bins.to_numpy())
    numbers: np.ndarray = pd.factorize(pairs["task"] + "\n" + inner, sort=True)[0]
    return numbers


def characters(pairs: pd.DataFrame) -> np.ndarray:
    """Return the number of characters of source plus target, (N,) int64."""
    return (pairs["source"].str.len() + pairs["target"].str.len()).to_numpy(dtype=np.int64)


class Assignable(NamedTuple):
    """N pairs to assign to parts.

    groups: (N,) int64. keys: (N,) uint64, the key of the group, from which hashes are computed.
    stratum: (N,) int64. lengths: (N,) int64, in characters.
    """

    groups: np.ndarray
    keys: np.ndarray
    stratum: np.ndarray
    lengths: np.ndarray


def fold_rows(pairs: Assignable, num_folds: int, seed: str) -> np.ndarray:
    """Return the fold of every pair, (N,) int64. Each group is in one fold.

    seed: another seed gives other folds.
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
    """Return which pairs are the test set, (N,) bool.

    share: of the pairs, of each stratum and of the characters that go to the test set, as closely as whole groups allow.
    seed: another seed gives another test set.
    Raises UserError if there are fewer than two groups.
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
    """Return by how much the largest fold exceeds the mean: 0.02 is 2 %.

    part: (N,), the fold of each pair. weights: (N,), what is summed per fold.
    """
    sizes = np.bincount(part, weights=weights)
    return float(sizes.max() / sizes.mean() - 1)


def _fifths(lengths: pd.Series[int]) -> pd.Series[int]:
    edges = np.quantile(lengths, np.linspace(0, 1, _LENGTH_BINS + 1)[1:-1])
    return pd.Series(np.searchsorted(edges, lengths), index=lengths.index)


def _common(stratum: np.ndarray, least: int) -> np.ndarray:
    """Merge strata with fewer pairs than `least`. If the merged stratum is still too small, return a single stratum."""
    sizes = np.bincount(stratum)
    is_rare = sizes[stratum] < least
    merged = np.where(is_rare, -1, stratum)
    return np.zeros_like(stratum) if 0 < is_rare.sum() < least else merged


def _assigned(pairs: Assignable, shares: np.ndarray, seed: str) -> np.ndarray:
    """Return the part of every pair, (N,) int64.

    shares: (P,), the share of the pairs that each part should have.
    The hash of a group gives its order of preferred parts. The group goes to the first part with enough room, or else to the part
    that it overfills least. So a new group moves old groups only if a part is full, and then only the few that were assigned last.
    Large groups are assigned first, and small ones even out the differences.
    """
    _, first, numbers, sizes = np.unique(pairs.groups, return_index=True, return_inverse=True, return_counts=True)
    amounts = _amounts(numbers, _common(pairs.stratum, len(shares)), pairs.lengths)
    capacity = _Capacity(amounts, shares)
    order = np.lexsort((_salted(pairs.keys[first], f"{seed} order"), -np.frexp(sizes)[1]))
    part = np.empty(len(first), dtype=np.int64)
    for start in range(0, len(order), _CHUNK_GROUPS):
        chosen = order[start : start + _CHUNK_GROUPS]
        preferred = _preferred(pairs.keys[first[chosen]], shares, seed).tolist()
        for place, (group, parts) in enumerate(zip(chosen.tolist(), preferred, strict=True)):
            part[group] = capacity.fill(group, parts, len(order) - start - place)
    return part[numbers]


def _amounts(numbers: np.ndarray, stratum: np.ndarray, lengths: np.ndarray) -> csr_matrix:
    """Return the content of each of G groups, (G, 2 + S): pairs; characters, in units of the mean pair; pairs of each of S strata."""
    ones = np.ones(len(numbers))
    columns = [
        np.zeros(len(numbers), dtype=np.int64),
        np.ones(len(numbers), dtype=np.int64),
        2 + np.unique(stratum, return_inverse=True)[1],
    ]
    values = [ones, lengths / max(lengths.mean(), 1), ones]
    amounts = csr_matrix((np.concatenate(values), (np.tile(numbers, 3), np.concatenate(columns))))
    amounts.sort_indices()  # so that the column of pairs comes first
    return amounts


class _Capacity:
    """Remaining capacity of each part, for each column of `amounts`."""

    def __init__(self, amounts: csr_matrix, shares: np.ndarray) -> None:
        """Start with empty parts.

        amounts: (G, C), the content of each group. shares: (P,), the share of each part.
        """
        totals = np.asarray(amounts.sum(axis=0)).ravel()  # (C,)
        slack = np.maximum(_INNER_TOLERANCE * shares.min() * totals, _INNER_TOLERATED_PAIRS)
        slack[0] = max(_TOLERANCE * shares.min() * totals[0], _TOLERATED_PAIRS)
        self._left = (np.outer(shares, totals) + slack).tolist()  # P lists of C
        self._empty = set(range(len(shares)))
        self._starts, self._columns, self._values = amounts.indptr.tolist(), amounts.indices.tolist(), amounts.data.tolist()

    def fill(self, group: int, parts: Sequence[int], num_left: int) -> int:
        """Put a group into a part, and return the part.

        parts: all parts, the most preferred first. num_left: number of groups not yet assigned, this one included. If there
        are no more of them than empty parts, they go into empty parts.
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
        """Return by how much a group would overfill a part: in pairs, and in the sum of all other columns."""
        left = self._left[part]
        pairs, *rest = (max(self._values[cell] - left[self._columns[cell]], 0) for cell in cells)
        return pairs, sum(rest)


def _preferred(keys: np.ndarray, shares: np.ndarray, seed: str) -> np.ndarray:
    """Return the parts in order of preference of each group, (G, P).

    Each part comes first for its share of the groups (weighted rendezvous hashing).
    """
    uniform = np.stack([_salted(keys, f"{seed} part {part}") for part in range(len(shares))], axis=1) / 2.0**64  # (G, P)
    return np.argsort(-np.log(np.maximum(uniform, 2.0**-64)) / shares, axis=1, kind="stable")


def _salted(keys: np.ndarray, salt: str) -> np.ndarray:
    """Return another hash of each key, (N,) uint64."""
    hashed: np.ndarray = hash_array(keys ^ hashes64([salt]))  # for numbers, this is the finalizer of splitmix64
    return hashed
