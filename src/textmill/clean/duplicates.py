"""Find duplicate rows: equal, equal except for case and punctuation, or similar.

Of several duplicates, the row with the best `quality` is kept; ties are broken by a hash of its origin. The order of the
rows does not matter.
Memory: about 60 bytes per row, and 128 bytes more for each row in the search for similar ones.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from textmill.clean.executors import Executor
from textmill.clean.repairs import Pair
from textmill.clean.stored_texts import Chosen, StoredTexts
from textmill.similarity.near_duplicates import greedy_representatives, signatures, similar_pairs
from textmill.text.hashing import hashes64, hashes128

DUPLICATE_REASONS = ("duplicate", "near_duplicate")
_NUM_HASHES = 64  # half the default: 128 bytes per row, and bands of five hashes at a similarity of 0.9
_CHUNK_TEXTS = 20_000
# Ignored when texts are compared. Signs such as + # % are kept: C, C++ and C# are different.
_IGNORED = re.compile(
    "[\\s.,;:!?\u2026'\"\u201c\u201d\u2018\u2019\u3002\uff0c\u3001\uff1b\uff1a\uff01\uff1f\u00b7\u2013\u2014\u00ab\u00bb\u300c\u300d-]+"
)


class Keys(NamedTuple):
    """Keys of N rows.

    equal: (N, 2) uint64, hashes of the compared text. folded: (N, 2) uint64, the same after `folded_text`.
    context: (N,) uint64; rows of different contexts are not compared. quality: (N,) uint8, lower is better.
    """

    equal: np.ndarray
    folded: np.ndarray
    context: np.ndarray
    quality: np.ndarray


class Duplicates(NamedTuple):
    """Result of the search for duplicates among N rows.

    reason: (N,), 0 if the row is kept, else 1 + index in DUPLICATE_REASONS.
    clusters: number of kept rows for which similar rows were removed. largest: most rows removed for one kept row.
    crowded: see `SimilarPairs` in similarity/near_duplicates.py.
    """

    reason: np.ndarray
    clusters: int
    largest: int
    crowded: int


def duplicate_keys(pairs: Sequence[Pair], contexts: Sequence[str], repairs: Sequence[int], compared: Sequence[str], near: bool) -> Keys:
    """Return the keys of pairs.

    contexts: task and official split of each pair; pairs of different contexts are never duplicates.
    repairs: 0 if nothing was repaired; an unrepaired row is preferred. compared: from `compared_text`.
    near: near-duplicates are removed too, so folded keys are needed. Without, they are those of the text itself.
    """
    equal = hashes128(f"{context}\0{text}" for context, text in zip(contexts, compared, strict=True))
    folded = equal
    if near:
        folded = hashes128(f"{context}\0{folded_text(text)}" for context, text in zip(contexts, compared, strict=True))
    quality = np.array([(change != 0) + 2 * _looks_odd(pair) for pair, change in zip(pairs, repairs, strict=True)], dtype=np.uint8)
    return Keys(equal, folded, hashes64(contexts), quality)


def compared_text(pair: Pair, by_source: bool) -> str:
    """Return the part of a pair that is compared."""
    return pair.source if by_source else f"{pair.source}\n{pair.target}"


def folded_text(text: str) -> str:
    """Return a text without case, width, spaces and punctuation, or the text itself if nothing would remain."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
    return _IGNORED.sub("", text.casefold()) or text


def find_duplicates(keys: Keys, ties: np.ndarray, texts: StoredTexts, similarities: Mapping[int, float], executor: Executor) -> Duplicates:
    """Decide which of N rows to remove.

    ties: (N,) uint64, break ties between rows of equal quality. texts: compared text of each row, if near-duplicates are looked for.
    similarities: minimum similarity of near-duplicates by context; 0: remove only equal rows.
    """
    order = np.lexsort((ties, keys.quality))
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order))
    reason = np.zeros(len(order), dtype=np.uint8)
    everyone = np.arange(len(order))
    reason[everyone[_not_first(keys.equal, rank)]] = 1
    if not any(similarities.values()):
        return Duplicates(reason, 0, 0, 0)
    left = np.flatnonzero(reason == 0)
    reason[left[_not_first(keys.folded[left], rank[left])]] = 2
    sizes: list[int] = []
    crowded = 0
    for context in np.unique(keys.context[left]).tolist():
        if not similarities[context]:
            continue
        stay = order[(reason[order] == 0) & (keys.context[order] == context)]  # in order of preference
        dropped, stays, crowd = _similar(Chosen(texts, stay), similarities[context], executor)
        reason[stay[dropped]] = 2
        sizes += np.unique(stays, return_counts=True)[1].tolist()
        crowded += crowd
    return Duplicates(reason, len(sizes), max(sizes, default=0), crowded)


def _similar(texts: Chosen, similarity: float, executor: Executor) -> tuple[np.ndarray, np.ndarray, int]:
    """Return the indices of the texts to remove, the index of the text kept for each, and the number of texts in crowded buckets."""
    chunks = ((texts[start : start + _CHUNK_TEXTS],) for start in range(0, len(texts), _CHUNK_TEXTS))
    signed = np.empty((len(texts), _NUM_HASHES), dtype=np.uint16)
    for number, part in enumerate(executor.map(_signatures, chunks, _NUM_HASHES)):
        signed[number * _CHUNK_TEXTS : number * _CHUNK_TEXTS + len(part)] = part
    pairs = similar_pairs(texts, similarity, signed)
    return *greedy_representatives(pairs, len(texts)), pairs.crowded


def _signatures(texts: Sequence[str], num_hashes: int) -> np.ndarray:
    return signatures(texts, num_hashes=num_hashes)


def _not_first(keys: np.ndarray, rank: np.ndarray) -> np.ndarray:
    """Return the indices of all rows but the one of lowest rank for each key."""
    order = np.lexsort((rank, keys[:, 1], keys[:, 0]))
    repeats = (keys[order[1:]] == keys[order[:-1]]).all(axis=1)
    places: np.ndarray = order[1:][repeats]
    return places


def _looks_odd(pair: Pair) -> bool:
    """Return whether a side is in capitals or has a space before its last punctuation mark. Such a row is not preferred."""
    return any((text.isupper() and len(text) > 3) or text[-2:] in _ODD_ENDS for text in pair)


_ODD_ENDS = frozenset(f" {mark}" for mark in ".,!?;:")
