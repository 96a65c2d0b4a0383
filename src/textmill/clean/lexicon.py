"""Learn word translations from the pairs themselves: IBM model 1 (Brown et al. 1993), in both directions.

Pairs of the fit are scored leave-one-out: the counts that a pair contributed are subtracted first. Otherwise, in a small corpus,
a misaligned pair would itself explain its rare words.

Dimensions: N pairs, C combinations of a source and a target word of one pair, K different combinations.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from textmill.text.scripts import HAN, KANA

_WORD = re.compile(rf"[{HAN}{KANA}]|[^\W\d_{HAN}{KANA}]+|\d+")
_MAX_WORDS = 40
_MAX_VOCABULARY = 50_000
_ITERATIONS = 5
_PRIOR = 2.5  # weight of the prior, in occurrences of a word
_CHUNK_COMBINATIONS = 2_000_000


def words(text: str) -> list[str]:
    """Return the different words of a text in order, lower-cased, at most 40. Each Han or kana character is a word."""
    return list(dict.fromkeys(_WORD.findall(text.lower())))[:_MAX_WORDS]


class Sides(NamedTuple):
    """Words of one side of N pairs.

    numbers: concatenated word numbers. starts: (N + 1,), offsets of the pairs. unknown: (N,), words that are not in the vocabulary.
    """

    numbers: np.ndarray
    starts: np.ndarray
    unknown: np.ndarray

    def sizes(self) -> np.ndarray:
        """Return the number of known words of each pair, (N,)."""
        return np.diff(self.starts)


class Lexicon(NamedTuple):
    """A fitted model.

    keys: (K,), sorted; source number * number of target words + target number.
    forward: (K,), P(target word | source word). backward: (K,), P(source word | target word).
    *_counts: (K,), expected counts. *_totals: expected counts per word, summed over its partners.
    *_share: share of each word in all words of its side.
    """

    source_numbers: dict[str, int]
    target_numbers: dict[str, int]
    keys: np.ndarray
    forward: np.ndarray
    backward: np.ndarray
    forward_counts: np.ndarray
    backward_counts: np.ndarray
    source_totals: np.ndarray
    target_totals: np.ndarray
    source_share: np.ndarray
    target_share: np.ndarray


class Explained(NamedTuple):
    """How well the words of each pair explain one another, (N,) each, in nats.

    forward: mean over the known target words of the log ratio of the best explanation to chance, at least 0 per word.
    backward: the same over the known source words.
    """

    forward: np.ndarray
    backward: np.ndarray


def fit_lexicon(sources: Sequence[list[str]], targets: Sequence[list[str]]) -> Lexicon:
    """Fit by expectation maximization over the words of aligned pairs. Up to rounding, the order of the pairs does not matter."""
    source_numbers, target_numbers = _vocabulary(sources), _vocabulary(targets)
    source, target = numbered(sources, source_numbers), numbered(targets, target_numbers)
    row, first, second = _combinations(source, target, np.arange(len(sources)))
    del row
    keys, place = np.unique(source.numbers[first] * len(target_numbers) + target.numbers[second], return_inverse=True)
    source_of, target_of = np.divmod(keys, max(len(target_numbers), 1))
    forward, backward = np.ones(len(keys)), np.ones(len(keys))
    for _ in range(_ITERATIONS):
        forward_counts = np.bincount(place, _posterior(forward[place], second, len(target.numbers)), minlength=len(keys))
        backward_counts = np.bincount(place, _posterior(backward[place], first, len(source.numbers)), minlength=len(keys))
        source_totals = np.bincount(source_of, forward_counts, minlength=len(source_numbers))
        target_totals = np.bincount(target_of, backward_counts, minlength=len(target_numbers))
        forward, backward = forward_counts / source_totals[source_of], backward_counts / target_totals[target_of]
    forward_counts = np.bincount(place, _posterior(forward[place], second, len(target.numbers)), minlength=len(keys))
    backward_counts = np.bincount(place, _posterior(backward[place], first, len(source.numbers)), minlength=len(keys))
    return Lexicon(
        source_numbers,
        target_numbers,
        keys,
        forward,
        backward,
        forward_counts,
        backward_counts,
        np.bincount(source_of, forward_counts, minlength=len(source_numbers)),
        np.bincount(target_of, backward_counts, minlength=len(target_numbers)),
        _shares(source.numbers, len(source_numbers)),
        _shares(target.numbers, len(target_numbers)),
    )


def numbered(texts: Sequence[list[str]], numbers: dict[str, int]) -> Sides:
    """Return the words of texts as numbers of the vocabulary. Unknown words are only counted."""
    known = [[numbers[word] for word in text if word in numbers] for text in texts]
    sizes = np.fromiter(map(len, known), dtype=np.int64, count=len(known))
    flat = np.fromiter((number for text in known for number in text), dtype=np.int64, count=int(sizes.sum()))
    lengths = np.fromiter(map(len, texts), dtype=np.int64, count=len(texts))
    return Sides(flat, np.concatenate([[0], np.cumsum(sizes)]), lengths - sizes)


def explained(lexicon: Lexicon, source: Sides, target: Sides, is_own: np.ndarray, kept: np.ndarray | None = None) -> Explained:
    """Score N pairs.

    is_own: (N,) bool, whether the lexicon was fitted on the pair, so that its own counts are subtracted.
    kept: (N,) number of known target words to score, for a truncated target. The other words are used only to subtract
        the pair's own counts.
    """
    parts = [
        _explained_rows(lexicon, source, target, is_own, kept, rows)
        for rows in _chunks(source.sizes() * target.sizes(), _CHUNK_COMBINATIONS)
    ]
    return Explained(*(np.concatenate(sides) for sides in zip(*parts, strict=True))) if parts else Explained(np.zeros(0), np.zeros(0))


def _explained_rows(
    lexicon: Lexicon, source: Sides, target: Sides, is_own: np.ndarray, kept: np.ndarray | None, rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    row, first, second = _combinations(source, target, rows)
    source_word, target_word = source.numbers[first], target.numbers[second]
    key = source_word * len(lexicon.target_numbers) + target_word
    place = np.minimum(np.searchsorted(lexicon.keys, key), len(lexicon.keys) - 1)
    found = lexicon.keys[place] == key if len(lexicon.keys) else np.zeros(len(key), dtype=bool)
    own = is_own[row]
    here = np.ones(len(row), dtype=bool) if kept is None else second - target.starts[row] < kept[row]
    scores = []
    for probability, counts, totals, shares, given, word, share_of in (
        (lexicon.forward, lexicon.forward_counts, lexicon.source_totals, lexicon.target_share, first, second, target_word),
        (lexicon.backward, lexicon.backward_counts, lexicon.target_totals, lexicon.source_share, second, first, source_word),
    ):
        posterior = np.where(own, _posterior(np.where(found, probability[place], 0.0), word, int(word.max(initial=-1)) + 1), 0.0)
        given_word = source_word if given is first else target_word
        own_total = np.bincount(given, posterior)[given]
        count = np.maximum(np.where(found, counts[place], 0.0) - posterior, 0.0)
        total = np.maximum(totals[given_word] - own_total, 0.0)
        ratio = (count / shares[share_of] + _PRIOR) / (total + _PRIOR)
        best = np.ones(int(word.max(initial=-1)) + 1)
        np.maximum.at(best, word[here], ratio[here])
        scores.append(np.log(best))
    forward, backward = scores
    is_there = np.zeros(len(forward), dtype=bool)
    is_there[second[here]] = True
    return (
        _means(np.where(is_there, forward, 0.0), target, rows, target.sizes() if kept is None else np.minimum(kept, target.sizes())),
        _means(backward, source, rows, source.sizes()),
    )


def _means(values: np.ndarray, side: Sides, rows: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Return the means over the words of each row. Words after the last value count as 0. The result does not depend on the chunks."""
    places = np.arange(side.starts[rows[0]], min(int(side.starts[rows[-1] + 1]), len(values)))
    row = np.searchsorted(side.starts, places, side="right") - 1 - rows[0]
    means: np.ndarray = np.bincount(row, values[places], minlength=len(rows)) / np.maximum(sizes[rows], 1)
    return means


def _combinations(source: Sides, target: Sides, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Combine each source word with each target word of consecutive `rows`.

    Returns the row and the indices of both words, (C,) each.
    """
    targets = target.sizes()[rows]
    counts = source.sizes()[rows] * targets
    row = np.repeat(rows, counts)
    within = np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts)
    across = np.repeat(targets, counts)
    return row, source.starts[row] + within // across, target.starts[row] + within % across


def _posterior(probability: np.ndarray, word: np.ndarray, size: int) -> np.ndarray:
    """Return, for each combination, the probability that it is the one that explains its `word`."""
    sums = np.bincount(word, probability, minlength=size)[word]
    shares: np.ndarray = np.divide(probability, sums, out=np.zeros_like(probability), where=sums > 0)
    return shares


def _vocabulary(texts: Sequence[list[str]]) -> dict[str, int]:
    """Number the words that occur in at least two texts, at most the 50,000 most frequent."""
    counts = Counter(word for text in texts for word in text)
    repeated = sorted((-count, word) for word, count in counts.items() if count > 1)[:_MAX_VOCABULARY]
    return {word: number for number, (_, word) in enumerate(repeated)}


def _shares(numbers: np.ndarray, size: int) -> np.ndarray:
    counts = np.bincount(numbers, minlength=size) + 0.5
    shares: np.ndarray = counts / counts.sum()
    return shares


def _chunks(weights: np.ndarray, limit: int) -> Iterator[np.ndarray]:
    """Yield consecutive rows whose weights add up to at most `limit`; at least one row each time."""
    ends = np.cumsum(weights)
    start = 0
    while start < len(weights):
        before = int(ends[start - 1]) if start else 0
        stop = max(int(np.searchsorted(ends, before + limit, side="right")), start + 1)
        yield np.arange(start, stop)
        start = stop
