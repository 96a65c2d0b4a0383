"""Texts that are nearly equal: MinHash signatures, locality-sensitive hashing, and the real similarity of every pair found.

The similarity is Jaccard's, over the sets of character n-grams of the normalized text: three characters, or two where
the first is Han, kana or hangul, so that one changed character costs an English and a Chinese sentence about the same.
An n-gram is one whole number that holds its characters, so no two n-grams are ever taken for one another.

Dimensions: N texts, K hashes a signature.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from rensa import RMinHash
from scipy.sparse import csr_matrix

NUM_HASHES = 128
_SEED = 1
_RECALL = 0.99  # of pairs exactly as similar as the threshold; more similar ones are found more surely
_CHUNK_TEXTS = 20_000
_BATCH_PAIRS = 100_000
_MAX_BUCKET = 128
_FILTER_DEVIATIONS = 4.0  # a candidate whose signatures agree this much less than the threshold says is not even verified
_WIDE = ((0x1100, 0x11FF), (0x2E80, 0x2FDF), (0x3040, 0x30FF), (0x3400, 0x9FFF), (0xAC00, 0xD7AF), (0xF900, 0xFAFF), (0x20000, 0x3FFFF))


class SimilarPairs(NamedTuple):
    """first, second: (P,) int64 rows, first < second, ordered by both; similarity: (P,) float64, all at least the threshold.

    crowded: texts that lay in a bucket too large to compare all with all; they were compared with its first text and
    within smaller buckets, so that some pairs among them may be missing. 0 means that nothing was left out.
    """

    first: np.ndarray
    second: np.ndarray
    similarity: np.ndarray
    crowded: int


def normalized(text: str) -> str:
    """What is compared: compatibility forms, case and runs of white space do not count."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def signatures(texts: Sequence[str], num_hashes: int = NUM_HASHES) -> np.ndarray:
    """MinHash signatures (Broder 1997; rensa's R-MinHash), of which 16 bits a hash are kept (Li & König 2010): (N, K) uint16.

    A row is a function of its text alone: chunks of a corpus can be signed anywhere and put together. 10 million texts
    of 128 hashes are 2.6 GB, which may as well be a memory map.
    """
    result = np.empty((len(texts), num_hashes), dtype=np.uint16)
    for start in range(0, len(texts), _CHUNK_TEXTS):
        values, offsets = _ngrams(texts[start : start + _CHUNK_TEXTS])
        digests = RMinHash.digest_matrix_from_flat_token_hashes(_mixed(values), offsets.astype(np.uint64), num_perm=num_hashes, seed=_SEED)
        result[start : start + _CHUNK_TEXTS] = np.array(digests.to_rows(), dtype=np.uint32) & np.uint32(0xFFFF)
    return result


def similar_pairs(texts: Sequence[str], threshold: float, signed: np.ndarray | None = None) -> SimilarPairs:
    """All pairs of texts whose similarity is at least `threshold` (0 to 1), but for what hashing misses: see `_RECALL`.

    signed: what `signatures` says of these texts, if it is known already; more hashes find more at a low threshold.
    Of texts with equal signatures, each is paired with the first of them, and only that one with other texts: the
    connected components are the same. The answer depends on the texts alone, not on their order.
    """
    if signed is None:
        signed = signatures(texts, _num_hashes(threshold))
    assert len(signed) == len(texts)
    prints = _fingerprints(signed)
    _, firsts, alike = np.unique(prints, return_index=True, return_inverse=True)
    repeated = np.flatnonzero(firsts[alike] != np.arange(len(texts)))
    crowd = _Crowd()
    found = [_verified(texts, firsts[alike[repeated]], repeated, threshold)]
    agreeing = threshold - _FILTER_DEVIATIONS * np.sqrt(threshold * (1 - threshold) / signed.shape[1])
    seen = np.array([], dtype=np.int64)
    for low, high in _batches(_candidates(signed, firsts, _band_width(threshold, signed.shape[1]), crowd)):
        codes = np.setdiff1d(np.minimum(low, high) * len(texts) + np.maximum(low, high), seen)
        low, high = np.divmod(codes, len(texts))
        near = _agreement(signed, low, high) >= agreeing
        found.append(_verified(texts, low[near], high[near], threshold))
        seen = np.union1d(seen, found[-1][0] * len(texts) + found[-1][1])
    first, second, similarity = (np.concatenate(parts) for parts in zip(*found, strict=True))
    order = np.lexsort((second, first))
    return SimilarPairs(first[order], second[order], similarity[order], crowd.size)


def representatives(ids: Sequence[Any], texts: Sequence[str], threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """Rows to drop so that no text is left beside one that is `threshold` similar, and for each the row that stays for it.

    Greedy, in the order of the ids: a text stays unless one that stays before it is similar enough; of several the most
    similar stands for it. Similarity is never handed on: a text is dropped only for one that it resembles itself.
    """
    order = np.argsort(np.asarray(ids), kind="stable")
    pairs = similar_pairs([texts[row] for row in order], threshold)
    kept_for = np.full(len(texts), -1, dtype=np.int64)  # in order: the place that stays for this one, or -1
    best = np.zeros(len(texts))
    by_second = np.lexsort((pairs.first, -pairs.similarity, pairs.second))
    for first, second, similarity in zip(*(part[by_second].tolist() for part in pairs[:3]), strict=True):
        stays = first
        if kept_for[first] >= 0 and similarity == 1.0:  # the same n-grams: what the first resembles, this one does too
            stays, similarity = int(kept_for[first]), best[first]
        if kept_for[stays] < 0 and kept_for[second] < 0:
            kept_for[second], best[second] = stays, similarity
    dropped = np.flatnonzero(kept_for >= 0)
    rows, stay = order[dropped], order[kept_for[dropped]]
    by_row = np.argsort(rows)
    return rows[by_row], stay[by_row]


def jaccard(texts: Sequence[str], first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The real similarity of pairs of rows: (P,) float64. Memory grows with the number of texts named in the pairs."""
    rows, places = np.unique(np.concatenate([first, second]), return_inverse=True)
    values, offsets = _ngrams([texts[row] for row in rows])
    vocabulary, columns = np.unique(values, return_inverse=True)
    counted = csr_matrix((np.ones(len(columns), dtype=np.int32), columns, offsets), shape=(len(rows), len(vocabulary)))
    counted.sum_duplicates()
    counted.data[:] = 1
    sizes = np.diff(counted.indptr)
    left, right = places[: len(first)], places[len(first) :]
    shared = counted[left].multiply(counted[right]).sum(axis=1).A1.astype(np.int64)
    similarity: np.ndarray = shared / (sizes[left] + sizes[right] - shared)
    return similarity


@dataclass
class _Crowd:
    size: int = 0


def _ngrams(texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """The n-grams of every text, one behind the other, (all,) uint64, and where each text's begin, (N + 1,) int64; none is empty."""
    padded = [f" {normalized(text)} " for text in texts]
    lengths = np.fromiter(map(len, padded), dtype=np.int64, count=len(padded))
    ends = np.cumsum(lengths)
    codes = np.zeros(int(lengths.sum()) + 2, dtype=np.uint64)  # two more, so that each has two followers
    codes[:-2] = np.frombuffer("".join(padded).encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    first, second, third = codes[:-2], codes[1:-1], codes[2:].copy()
    third[ends - 2] = 0  # the last two characters of a text are an n-gram of their own
    for low, high in _WIDE:
        third[(first >= low) & (first <= high)] = 0
    values = (first << np.uint64(42)) | (second << np.uint64(21)) | third
    is_start = np.ones(len(first), dtype=bool)
    is_start[ends - 1] = False
    return values[is_start], np.concatenate([[0], np.cumsum(lengths - 1)])


def _mixed(values: np.ndarray) -> np.ndarray:
    """The numbers stirred, each into another (the finalizer of splitmix64): rensa's hashes need bits that look random."""
    values = values.copy()
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        values = (values ^ (values >> np.uint64(shift))) * np.uint64(factor)
    mixed: np.ndarray = values ^ (values >> np.uint64(31))
    return mixed


def _num_hashes(threshold: float) -> int:
    """Twice as many while bands would have to be two hashes wide, where most buckets hold chance."""
    count = NUM_HASHES
    while _band_width(threshold, count) < 3 and count < 4 * NUM_HASHES:
        count *= 2
    return count


def _band_width(threshold: float, num_hashes: int) -> int:
    """The most hashes a band such that a pair at the threshold agrees in one band with probability `_RECALL`."""
    widths = [width for width in range(1, 17) if 1 - (1 - threshold**width) ** (num_hashes // width) >= _RECALL]
    return max(widths, default=1)


def _fingerprints(signed: np.ndarray) -> np.ndarray:
    """One number a signature, (N,) uint64."""
    prints = np.zeros(len(signed), dtype=np.uint64)
    for column in range(signed.shape[1]):
        prints = _mixed(prints + signed[:, column] + np.uint64(1))
    return prints


def _candidates(signed: np.ndarray, rows: np.ndarray, width: int, crowd: _Crowd) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pairs of `rows` that agree in all hashes of a band, band by band; a pair may come several times."""
    crowded = np.zeros(len(signed), dtype=bool)
    for start in range(0, signed.shape[1] - width + 1, width):
        yield from _bucket_pairs(signed, rows, start, width, crowded)
    crowd.size = int(crowded.sum())


def _bucket_pairs(
    signed: np.ndarray, rows: np.ndarray, start: int, width: int, crowded: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Rows in one bucket, all with all; in a bucket that is too large each with its first, and the rest by a wider band."""
    keys = np.zeros(len(rows), dtype=np.uint64)
    for column in range(start, start + width):
        keys = _mixed(keys + signed[rows, column % signed.shape[1]] + np.uint64(1))
    order = np.argsort(keys, kind="stable")
    rows, keys = rows[order], keys[order]
    starts = np.flatnonzero(np.append(True, keys[1:] != keys[:-1])[: len(keys)])
    sizes = np.diff(np.append(starts, len(keys)))
    ends = np.repeat(starts + sizes, sizes)
    is_large = np.repeat(sizes > _MAX_BUCKET, sizes)
    places = np.flatnonzero(~is_large)
    distance = 0
    while len(places):
        distance += 1
        places = places[places + distance < ends[places]]
        yield rows[places], rows[places + distance]
    if is_large.any():
        large = rows[is_large]
        crowded[large] = True
        yield np.repeat(rows[starts], sizes)[is_large], large
        if width < signed.shape[1]:
            yield from _bucket_pairs(signed, large, start, 2 * width, crowded)


def _batches(candidates: Iterator[tuple[np.ndarray, np.ndarray]]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The same pairs in few large pieces, without those of a text with itself."""
    waiting: list[tuple[np.ndarray, np.ndarray]] = []
    for first, second in candidates:
        proper = first != second
        for start in range(0, len(first), _BATCH_PAIRS):
            part = slice(start, start + _BATCH_PAIRS)
            waiting.append((first[part][proper[part]], second[part][proper[part]]))
            if sum(len(each) for each, _ in waiting) >= _BATCH_PAIRS:
                yield tuple(np.concatenate(sides) for sides in zip(*waiting, strict=True))  # type: ignore[misc]
                waiting = []
    if waiting:
        yield tuple(np.concatenate(sides) for sides in zip(*waiting, strict=True))  # type: ignore[misc]


def _agreement(signed: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The share of equal hashes, an estimate of the similarity: (P,) float64."""
    share: np.ndarray = (signed[first] == signed[second]).mean(axis=1)
    return share


def _verified(texts: Sequence[str], first: np.ndarray, second: np.ndarray, threshold: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    similarity = jaccard(texts, first, second)
    near = similarity >= threshold
    return first[near], second[near], similarity[near]
