"""Which rows say what another row says already: equal ones, ones equal but for case and punctuation, and similar ones.

Which one stays is decided by the rows themselves, not by where they stand: first by `quality`, then by a hash of their origin.
Memory: about 60 bytes a row, and 128 more for each that is searched for similar ones.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from textmill.clean.executors import Executor
from textmill.clean.repairs import Pair
from textmill.clean.stored_texts import Chosen, StoredTexts
from textmill.similarity.near_duplicates import greedy_representatives, signatures, similar_pairs
from textmill.text.hashing import hashes64, hashes128

DUPLICATE_REASONS = ("duplicate", "near_duplicate")
_NUM_HASHES = 64  # half the usual: 128 bytes a row, and bands of five hashes at a similarity of 0.9
_CHUNK_TEXTS = 20_000
# What does not make two texts different; signs such as + # % stay: C, C++ and C# are three things.
_IGNORED = re.compile(
    "[\\s.,;:!?\u2026'\"\u201c\u201d\u2018\u2019\u3002\uff0c\u3001\uff1b\uff1a\uff01\uff1f\u00b7\u2013\u2014\u00ab\u00bb\u300c\u300d-]+"
)


class Keys(NamedTuple):
    """Of N rows: equal, folded: (N, 2) uint64 hashes of what must be equal (folded may be empty); context: (N,) uint64, rows of
    different ones are not compared; quality: (N,) uint8, less is better."""

    equal: np.ndarray
    folded: np.ndarray
    context: np.ndarray
    quality: np.ndarray


class Duplicates(NamedTuple):
    """reason: (N,) 0 stays, else 1 + place in DUPLICATE_REASONS. clusters, largest: how many kept rows stand for similar ones, and
    for how many at most. crowded: see near_duplicates.SimilarPairs."""

    reason: np.ndarray
    clusters: int
    largest: int
    crowded: int


def duplicate_keys(pairs: Sequence[Pair], contexts: Sequence[str], repairs: Sequence[int], by_source: bool, near: bool) -> Keys:
    """Keys of pairs; rows of another context (task, official split) are never duplicates.

    repairs: what was mended; an untouched row is better than a mended one. by_source: only the sources have to be equal.
    near: near-duplicates are searched for; without, there are no folded keys.
    """
    compared = [compared_text(pair, by_source) for pair in pairs]
    equal = hashes128(f"{context}\0{text}" for context, text in zip(contexts, compared, strict=True))
    folded = equal[:0]
    if near:
        folded = hashes128(f"{context}\0{folded_text(text)}" for context, text in zip(contexts, compared, strict=True))
    quality = np.array([(change != 0) + 2 * _looks_odd(pair) for pair, change in zip(pairs, repairs, strict=True)], dtype=np.uint8)
    return Keys(equal, folded, hashes64(contexts), quality)


def compared_text(pair: Pair, by_source: bool) -> str:
    """The part of a pair that makes it a duplicate."""
    return pair.source if by_source else f"{pair.source}\n{pair.target}"


def folded_text(text: str) -> str:
    """A text without case, width, spaces and punctuation; the text itself if nothing is left."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
    return _IGNORED.sub("", text.casefold()) or text


def find_duplicates(keys: Keys, ties: np.ndarray, texts: StoredTexts, similarity: float, executor: Executor) -> Duplicates:
    """Decide which of N rows go.

    ties: (N,) uint64, decide between rows of one quality. texts: what is compared, for each row.
    similarity: that near-duplicates must have, 0: only equal rows go.
    """
    order = np.lexsort((ties, keys.quality))
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order))
    reason = np.zeros(len(order), dtype=np.uint8)
    everyone = np.arange(len(order))
    reason[everyone[_not_first(keys.equal, rank)]] = 1
    if not similarity:
        return Duplicates(reason, 0, 0, 0)
    left = np.flatnonzero(reason == 0)
    reason[left[_not_first(keys.folded[left], rank[left])]] = 2
    sizes: list[int] = []
    crowded = 0
    for context in np.unique(keys.context[left]):
        stay = order[(reason[order] == 0) & (keys.context[order] == context)]  # from the one that is surest to stay
        dropped, stays, crowd = _similar(Chosen(texts, stay), similarity, executor)
        reason[stay[dropped]] = 2
        sizes += np.unique(stays, return_counts=True)[1].tolist()
        crowded += crowd
    return Duplicates(reason, len(sizes), max(sizes, default=0), crowded)


def _similar(texts: Chosen, similarity: float, executor: Executor) -> tuple[np.ndarray, np.ndarray, int]:
    """Places of texts that go, the places of those that stay for them, and how many lay in crowded buckets."""
    chunks = ((texts[start : start + _CHUNK_TEXTS],) for start in range(0, len(texts), _CHUNK_TEXTS))
    signed = np.empty((len(texts), _NUM_HASHES), dtype=np.uint16)
    for number, part in enumerate(executor.map(_signatures, chunks, _NUM_HASHES)):
        signed[number * _CHUNK_TEXTS : number * _CHUNK_TEXTS + len(part)] = part
    pairs = similar_pairs(texts, similarity, signed)
    return *greedy_representatives(pairs, len(texts)), pairs.crowded


def _signatures(texts: Sequence[str], num_hashes: int) -> np.ndarray:
    return signatures(texts, num_hashes=num_hashes)


def _not_first(keys: np.ndarray, rank: np.ndarray) -> np.ndarray:
    """Places of rows that have the key of a row of lower rank: all but the first of each key."""
    order = np.lexsort((rank, keys[:, 1], keys[:, 0]))
    repeats = (keys[order[1:]] == keys[order[:-1]]).all(axis=1)
    places: np.ndarray = order[1:][repeats]
    return places


def _looks_odd(pair: Pair) -> bool:
    """Written in capitals, or with a space before its last mark: of two near-duplicates the other is the better one."""
    return any((text.isupper() and len(text) > 3) or text[-2:] in _ODD_ENDS for text in pair)


_ODD_ENDS = frozenset(f" {mark}" for mark in ".,!?;:")
