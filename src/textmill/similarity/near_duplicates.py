"""Find near-duplicate texts: MinHash signatures, locality-sensitive hashing, then the exact similarity of every candidate pair.

The similarity is the Jaccard similarity of the sets of character n-grams of the normalized texts. An n-gram has three
characters, or two if the first one is Han, kana or hangul. So one changed character costs about the same in English and in Chinese.
An n-gram is stored as an integer that contains its characters, so two different n-grams never collide.

Dimensions: N texts, K hashes per signature, P pairs.
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
RECALL = 0.99  # of pairs exactly at the threshold; recall is higher for more similar pairs
_MAX_WIDTH, _SAMPLED_BANDS = 10, 4
_SIGN_COST, _PAIR_COST = 13.0, 0.35  # microseconds of one core per text of 40 characters, and per candidate pair
_CHUNK_TEXTS = 20_000
_BATCH_PAIRS = 200_000
_MAX_BUCKET, _CROWD_PENALTY = 128, 10
_FILTER_DEVIATIONS = 4.0  # a candidate is skipped if its signatures agree by this many standard deviations less than the threshold
_WIDE = ((0x1100, 0x11FF), (0x2E80, 0x2FDF), (0x3040, 0x30FF), (0x3400, 0x9FFF), (0xAC00, 0xD7AF), (0xF900, 0xFAFF), (0x20000, 0x3FFFF))


Batch = tuple[np.ndarray, np.ndarray, np.ndarray]
Candidates = tuple[np.ndarray, np.ndarray, np.ndarray]  # first, second, the band in which they agree


@dataclass
class Crowd:
    """Number of texts in buckets too large to compare all pairs, in the round with the most such texts."""

    size: int = 0


class SimilarPairs(NamedTuple):
    """Pairs of similar texts.

    first, second: (P,) int64 rows, first < second, sorted by first, then second.
    similarity: (P,) float64, at least the threshold.
    crowded: number of texts in buckets too large to compare all pairs. Such texts were compared with the first text of the
        bucket and within smaller buckets, so some pairs may be missing. 0: all candidates were compared.
    """

    first: np.ndarray
    second: np.ndarray
    similarity: np.ndarray
    crowded: int


def normalized(text: str) -> str:
    """Return the text that is compared: NFKC, case-folded, with single spaces."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def signatures(texts: Sequence[str], seed: int = 1, num_hashes: int = NUM_HASHES) -> np.ndarray:
    """Return the MinHash signatures of texts, (N, K) uint16.

    MinHash: Broder 1997, computed with R-MinHash of rensa; 16 bits per hash are kept (Li & König 2010).
    A row depends on its text only, so chunks of a corpus can be signed in different processes. 10 million texts take 2.6 GB.
    """
    result = np.empty((len(texts), num_hashes), dtype=np.uint16)
    for start in range(0, len(texts), _CHUNK_TEXTS):
        values, offsets = _ngrams(texts[start : start + _CHUNK_TEXTS])
        digests = RMinHash.digest_matrix_from_flat_token_hashes(_mixed(values), offsets.astype(np.uint64), num_perm=num_hashes, seed=seed)
        result[start : start + _CHUNK_TEXTS] = np.array(digests.to_rows(), dtype=np.uint32) & np.uint32(0xFFFF)
    return result


def similar_pairs(texts: Sequence[str], threshold: float, signed: np.ndarray | None = None) -> SimilarPairs:
    """Return the pairs of texts whose similarity is at least `threshold` (0 to 1), with the recall `RECALL`.

    signed: signatures of these texts, if already computed. No others are computed then, so the recall is lower if they have
        too few hashes for the threshold (128 hashes: below 0.5).
    Of several texts with equal signatures, only the first is compared with other texts, and the rest are paired with the first.
    The connected components are the same. The result depends on the set of texts only, not on their order.
    """
    crowd = Crowd()
    found = list(similar_batches(texts, threshold, crowd, signed))
    first, second, similarity = (np.concatenate(parts) for parts in zip(*found, strict=True))
    _, places = np.unique(first * len(texts) + second, return_index=True)
    return SimilarPairs(first[places], second[places], similarity[places], crowd.size)


def similar_batches(texts: Sequence[str], threshold: float, crowd: Crowd, signed: np.ndarray | None = None) -> Iterator[Batch]:
    """Yield the pairs of `similar_pairs` in batches of (first, second, similarity). A pair may come more than once.

    crowd: its `size` is set. Memory: 256 bytes per text for one round of signatures, plus one batch of pairs.
    """
    given, start, bands, width = signed, 0, 1, 1
    while start < bands:
        signed = signatures(texts, seed=1 + start) if given is None else given
        assert len(signed) == len(texts)
        _, firsts, alike = np.unique(_fingerprints(signed), return_index=True, return_inverse=True)
        if start == 0:
            repeated = np.flatnonzero(firsts[alike] != np.arange(len(texts)))
            yield from _verified(texts, iter([(firsts[alike[repeated]], repeated, repeated)]), threshold)
            width = _cheapest_width(signed, firsts, threshold) if given is None else _band_width(threshold, signed.shape[1])
            bands = _bands_needed(threshold, width) if given is None else signed.shape[1] // width
        crowded = np.zeros(len(texts), dtype=bool)
        candidates = _batches(_candidates(signed, firsts, width, bands - start, crowded))
        yield from _verified(texts, _batches(_agreeing(signed, candidates, threshold, width, crowded)), threshold)
        crowd.size = max(crowd.size, int(crowded.sum()))
        start += signed.shape[1] // width


def representatives(ids: Sequence[Any], texts: Sequence[str], threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows to drop so that no two remaining texts are `threshold` similar, and for each the row that is kept for it.

    Greedy, in the order of the ids: a text is kept unless a text that was kept before it is similar enough. If there are
    several, the most similar one is kept for it. Similarity is not transitive: a text is dropped only if it is similar
    to the kept text itself.
    """
    order = np.argsort(np.asarray(ids), kind="stable")
    dropped, stay = greedy_representatives(similar_pairs([texts[row] for row in order], threshold), len(texts))
    rows, stay = order[dropped], order[stay]
    by_row = np.argsort(rows)
    return rows[by_row], stay[by_row]


def greedy_representatives(pairs: SimilarPairs, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the dropped and the kept rows of `representatives`, given the similar pairs among `count` texts.

    The texts must be in order of preference: earlier ones are kept first.
    """
    kept_for = np.full(count, -1, dtype=np.int64)  # the text that is kept for this one, or -1
    best = np.zeros(count)
    by_second = np.lexsort((pairs.first, -pairs.similarity, pairs.second))
    for first, second, similarity in zip(*(part[by_second].tolist() for part in pairs[:3]), strict=True):
        stays = first
        if kept_for[first] >= 0 and similarity == 1.0:  # equal n-grams: both are similar to the same texts
            stays, similarity = int(kept_for[first]), best[first]
        if kept_for[stays] < 0 and kept_for[second] < 0:
            kept_for[second], best[second] = stays, similarity
    dropped = np.flatnonzero(kept_for >= 0)
    return dropped, kept_for[dropped]


def jaccard(texts: Sequence[str], first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the exact Jaccard similarity of pairs of rows, (P,) float64.

    Memory grows with the number of different texts in the pairs.
    """
    rows, places = np.unique(np.concatenate([first, second]), return_inverse=True)
    values, offsets = _ngrams([texts[row] for row in rows])
    counted = csr_matrix((np.ones(len(values), dtype=np.int32), values.astype(np.int64), offsets), shape=(len(rows), 2**63 - 1))
    counted.sum_duplicates()
    counted.data[:] = 1
    sizes = np.diff(counted.indptr)
    left, right = places[: len(first)], places[len(first) :]
    shared = counted[left].multiply(counted[right]).sum(axis=1).A1.astype(np.int64)
    similarity: np.ndarray = shared / (sizes[left] + sizes[right] - shared)
    return similarity


def _ngrams(texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return the concatenated n-grams of all texts, (all,) uint64, and the offsets of the texts, (N + 1,) int64. No text is empty."""
    padded = [f" {normalized(text)} " for text in texts]
    lengths = np.fromiter(map(len, padded), dtype=np.int64, count=len(padded))
    ends = np.cumsum(lengths)
    codes = np.zeros(int(lengths.sum()) + 2, dtype=np.uint64)  # two more, so that two characters follow every one
    codes[:-2] = np.frombuffer("".join(padded).encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    first, second, third = codes[:-2], codes[1:-1], codes[2:].copy()
    third[ends - 2] = 0  # the last two characters of a text make an n-gram of two
    for low, high in _WIDE:
        third[(first >= low) & (first <= high)] = 0
    values = (first << np.uint64(42)) | (second << np.uint64(21)) | third
    is_start = np.ones(len(first), dtype=bool)
    is_start[ends - 1] = False
    return values[is_start], np.concatenate([[0], np.cumsum(lengths - 1)])


def _mixed(values: np.ndarray) -> np.ndarray:
    """Mix the bits of numbers one to one (the finalizer of splitmix64): rensa needs inputs that look random."""
    values = values.copy()
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        values = (values ^ (values >> np.uint64(shift))) * np.uint64(factor)
    mixed: np.ndarray = values ^ (values >> np.uint64(31))
    return mixed


def _cheapest_width(signed: np.ndarray, rows: np.ndarray, threshold: float) -> int:
    """Return the number of hashes per band that costs the least.

    Narrow bands need few rounds of signatures; wide bands give few false candidates. The number of candidates depends on the
    texts, so it is counted in the first bands.
    """
    costs = {}
    for width in range(1, _MAX_WIDTH + 1):
        bands = _bands_needed(threshold, width)
        rounds = -(-bands // (NUM_HASHES // width))
        sizes = [np.unique(_keys(signed, rows, band * width, width), return_counts=True)[1] for band in range(_SAMPLED_BANDS)]
        pairs = (
            sum(float((each * (each - 1) * np.where(each > _MAX_BUCKET, _CROWD_PENALTY, 1)).sum()) / 2 for each in sizes) / _SAMPLED_BANDS
        )
        costs[width] = rounds * len(signed) * _SIGN_COST + bands * pairs * _PAIR_COST
        if rounds * len(signed) * _SIGN_COST > min(costs.values()):
            break  # wider bands need even more rounds
    return min(costs, key=lambda width: (costs[width], width))


def _bands_needed(threshold: float, width: int) -> int:
    """Return how many bands are needed for a pair at the threshold to agree in at least one with probability RECALL."""
    if threshold >= 1:
        return 1
    return int(np.ceil(np.log(1 - RECALL) / np.log1p(-(threshold**width))))


def _band_width(threshold: float, num_hashes: int) -> int:
    """Return the widest band that still reaches RECALL with `num_hashes` hashes in total."""
    return max((width for width in range(1, 17) if _bands_needed(threshold, width) <= num_hashes // width), default=1)


def _fingerprints(signed: np.ndarray) -> np.ndarray:
    """Return one number per signature, (N,) uint64."""
    prints = np.zeros(len(signed), dtype=np.uint64)
    for column in range(signed.shape[1]):
        prints = _mixed(prints + signed[:, column] + np.uint64(1))
    return prints


def _candidates(signed: np.ndarray, rows: np.ndarray, width: int, most: int, crowded: np.ndarray) -> Iterator[Candidates]:
    """Yield the pairs of `rows` that agree in a whole band, once for each such band. At most `most` bands are used."""
    for start in range(0, signed.shape[1] - width + 1, width)[:most]:
        for first, second in _bucket_pairs(signed, rows, start, width, crowded):
            yield first, second, np.full(len(first), start // width)


def _keys(signed: np.ndarray, rows: np.ndarray, start: int, width: int) -> np.ndarray:
    """Return one number per row for the hashes of one band, (R,) uint64."""
    keys = np.zeros(len(rows), dtype=np.uint64)
    for column in range(start, start + width):
        keys = _mixed(keys + signed[rows, column % signed.shape[1]] + np.uint64(1))
    return keys


def _bucket_pairs(
    signed: np.ndarray, rows: np.ndarray, start: int, width: int, crowded: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield all pairs within each bucket. In a bucket that is too large, pair each row with the first, and split it by a wider band."""
    keys = _keys(signed, rows, start, width)
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
            yield from _bucket_pairs(signed, large, start, width + 2, crowded)


def _batches(candidates: Iterator[Candidates]) -> Iterator[Candidates]:
    """Yield the same pairs in batches of similar size, without pairs of a text with itself."""
    waiting: list[Candidates] = []
    size = 0
    for pairs in candidates:
        proper = pairs[0] != pairs[1]
        for start in range(0, len(proper), _BATCH_PAIRS):
            part = slice(start, start + _BATCH_PAIRS)
            first, second, bands = (each[part][proper[part]] for each in pairs)
            waiting.append((first, second, bands))
            size += len(first)
            if size >= _BATCH_PAIRS:
                yield _joined(waiting)
                waiting, size = [], 0
    if waiting:
        yield _joined(waiting)


def _joined(parts: list[Candidates]) -> Candidates:
    first, second, bands = (np.concatenate(each) for each in zip(*parts, strict=True))
    return first, second, bands


def _agreeing(
    signed: np.ndarray, candidates: Iterator[Candidates], threshold: float, width: int, crowded: np.ndarray
) -> Iterator[Candidates]:
    """Yield the candidates that may reach the threshold, judged by their share of equal hashes.

    Each pair comes once. A pair that also agrees in an earlier band has come before, unless that bucket was too large.
    """
    needed = threshold - _FILTER_DEVIATIONS * np.sqrt(threshold * (1 - threshold) / signed.shape[1])
    bands = signed.shape[1] // width
    for each in candidates:
        equal = signed[each[0]] == signed[each[1]]  # (P, K)
        near = np.flatnonzero(np.count_nonzero(equal, axis=1) >= needed * signed.shape[1])
        agrees = np.logical_and.reduceat(equal[near, : bands * width], np.arange(0, bands * width, width), axis=1)  # (P, bands)
        new = (agrees.argmax(axis=1) >= each[2][near]) | crowded[each[0][near]]
        yield each[0][near[new]], each[1][near[new]], each[2][near[new]]


def _verified(texts: Sequence[str], candidates: Iterator[Candidates], threshold: float) -> Iterator[Batch]:
    for one, other, _ in candidates:
        codes = np.unique(np.minimum(one, other) * len(texts) + np.maximum(one, other))
        first, second = np.divmod(codes, len(texts)) if len(codes) else (codes, codes)
        similarity = jaccard(texts, first, second)
        near = similarity >= threshold
        yield first[near], second[near], similarity[near]
