"""Filters that are learned from the corpus: misaligned pairs, truncated targets and unlikely lengths.

No other data is used. A bounded sample of the pairs is compared with artificial wrong pairs: the same sources with the targets
of other rows, and with truncated targets. A logistic regression learns to tell them apart from word correspondences, lengths,
final punctuation and numbers. Its odds say how many times more likely a pair is wrong than real.

If source and target do not correspond word by word (an answer, a reply, a label), the regression finds no difference. The odds
stay near 1, and nothing is rejected.

Dimensions: N pairs, F features.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from textmill.clean.lexicon import Explained, Lexicon, Sides, explained, fit_lexicon, numbered, words
from textmill.clean.repairs import Pair
from textmill.clean.settings import FilterSettings
from textmill.text.scripts import weighted_length

EVIDENCE_REASONS = ("length_unlikely", "truncated", "misaligned")
MIN_ROWS = 500  # too few pairs to learn from, below this
_MAX_COMBINATIONS = 6_000_000  # of source and target words in the sample: about 1 GB during the fit
_END = re.compile(r"[.!?…:;。！？：；][\"'”’」』）)\]]*$")
_NUMBER = re.compile(r"\d+(?:[.,]\d{3})*(?!\d)|\d+")
_CUT_SHARES = (0.1, 0.65)
_CLIP = 8.0
_LENGTH_BINS = 24


class Lengths(NamedTuple):
    """Median and scale of log((target + 3) / (source + 3)) in weighted characters, per bin of source length.

    Bin b has the pairs with source + 3 from 2**(b/2) to 2**((b+1)/2) weighted characters.
    """

    median: np.ndarray
    scale: np.ndarray
    wide_weight: float

    def deviations(self, pairs: Sequence[Pair]) -> np.ndarray:
        """Return by how many standard deviations each target is longer than expected from its source, (N,)."""
        ratio, bins = _length_ratios(pairs, self.wide_weight)
        deviations: np.ndarray = (ratio - self.median[bins]) / self.scale[bins]
        return deviations


class Evidence(NamedTuple):
    """A fitted model.

    hashes: sorted content hashes of the pairs that it was fitted on. truncated, misaligned: (F + 1,) weights, the last one is the
    intercept.
    """

    lexicon: Lexicon
    lengths: Lengths
    hashes: np.ndarray
    truncated: np.ndarray
    misaligned: np.ndarray


def fit_evidence(pairs: Sequence[Pair], hashes: np.ndarray, wide_weight: float) -> Evidence | None:
    """Fit the model to a sample of pairs. Returns None if there are too few.

    hashes: content hashes of the pairs, unique and ascending. Random truncations are drawn in this order, so the result depends
    only on the set of pairs.
    """
    assert np.all(hashes[1:] > hashes[:-1]), "not in the order of the hashes, or not unique"
    pairs, sources, targets = _within_budget(pairs)
    hashes = hashes[: len(pairs)]
    if len(pairs) < MIN_ROWS:
        return None
    lengths = _fit_lengths(pairs, wide_weight)
    lexicon = fit_lexicon(sources, targets)
    source, target = numbered(sources, lexicon.source_numbers), numbered(targets, lexicon.target_numbers)
    own, other = np.ones(len(pairs), dtype=bool), np.zeros(len(pairs), dtype=bool)
    real = _features(pairs, source, target, explained(lexicon, source, target, own), lengths)
    moved = np.roll(np.arange(len(pairs)), 1)  # the next row by hash is an arbitrary other row
    shuffled_pairs = [Pair(pair.source, pairs[row].target) for pair, row in zip(pairs, moved, strict=True)]
    moved_target = numbered([targets[row] for row in moved], lexicon.target_numbers)
    shuffled = _features(shuffled_pairs, source, moved_target, explained(lexicon, source, moved_target, other), lengths)
    cut_pairs = _cut(pairs)
    cut_target = numbered([words(pair.target) for pair in cut_pairs], lexicon.target_numbers)
    cut_explained = explained(lexicon, source, target, own, kept=cut_target.sizes())
    cut = _features(cut_pairs, source, cut_target, cut_explained, lengths)
    return Evidence(lexicon, lengths, hashes, _separating(real, cut), _separating(real, shuffled))


def evidence_reasons(pairs: Sequence[Pair], hashes: np.ndarray, evidence: Evidence, settings: FilterSettings) -> list[str]:
    """Return the reason for rejecting each pair: one of EVIDENCE_REASONS, or empty."""
    source_words, target_words = [words(pair.source) for pair in pairs], [words(pair.target) for pair in pairs]
    source = numbered(source_words, evidence.lexicon.source_numbers)
    target = numbered(target_words, evidence.lexicon.target_numbers)
    place = np.minimum(np.searchsorted(evidence.hashes, hashes), len(evidence.hashes) - 1)
    is_own = evidence.hashes[place] == hashes
    features = _features(pairs, source, target, explained(evidence.lexicon, source, target, is_own), evidence.lengths)
    deviation = np.abs(evidence.lengths.deviations(pairs))
    verdicts = {
        "length_unlikely": deviation > (settings.max_length_deviation or np.inf),
        "truncated": _odds(features, evidence.truncated) > (settings.truncated or np.inf),
        "misaligned": _odds(features, evidence.misaligned) > (settings.misaligned or np.inf),
    }
    reasons = np.full(len(pairs), "", dtype=object)
    for reason in reversed(EVIDENCE_REASONS):
        reasons[verdicts[reason]] = reason
    return list(reasons)


def _within_budget(pairs: Sequence[Pair]) -> tuple[list[Pair], list[list[str]], list[list[str]]]:
    """Return as many of the first pairs, with their words, as the limit on word combinations allows."""
    kept: list[Pair] = []
    sources: list[list[str]] = []
    targets: list[list[str]] = []
    combinations = 0
    for pair in pairs:
        source, target = words(pair.source), words(pair.target)
        combinations += len(source) * len(target)
        if combinations > _MAX_COMBINATIONS:
            break
        kept.append(pair)
        sources.append(source)
        targets.append(target)
    return kept, sources, targets


def _length_ratios(pairs: Sequence[Pair], wide_weight: float) -> tuple[np.ndarray, np.ndarray]:
    source = np.array([weighted_length(pair.source, wide_weight) for pair in pairs]) + 3.0
    target = np.array([weighted_length(pair.target, wide_weight) for pair in pairs]) + 3.0
    return np.log(target / source), np.minimum((2 * np.log2(source)).astype(np.int64), _LENGTH_BINS - 1)


def _fit_lengths(pairs: Sequence[Pair], wide_weight: float) -> Lengths:
    """Fit robust medians and deviations. A bin with few pairs also uses the pairs of its neighbours."""
    ratio, bins = _length_ratios(pairs, wide_weight)
    median, scale = np.zeros(_LENGTH_BINS), np.ones(_LENGTH_BINS)
    for number in range(_LENGTH_BINS):
        width = next(width for width in range(_LENGTH_BINS) if (np.abs(bins - number) <= width).sum() >= MIN_ROWS // 5)
        near = ratio[np.abs(bins - number) <= width]
        median[number] = np.median(near)
        scale[number] = max(1.4826 * float(np.median(np.abs(near - median[number]))), 0.15)
    return Lengths(median, scale, wide_weight)


def _cut(pairs: Sequence[Pair]) -> list[Pair]:
    """Return the same pairs with truncated targets of at least one character."""
    shares = np.random.default_rng(0).uniform(*_CUT_SHARES, len(pairs))
    return [
        Pair(pair.source, pair.target[: max(int(len(pair.target) * share), 1)].rstrip()) for pair, share in zip(pairs, shares, strict=True)
    ]


def _features(pairs: Sequence[Pair], source: Sides, target: Sides, words_explained: Explained, lengths: Lengths) -> np.ndarray:
    """Return the features, (N, F) float64."""
    deviation = np.clip(lengths.deviations(pairs), -_CLIP, _CLIP)
    ends = np.array([[_END.search(text) is not None for text in pair] for pair in pairs], dtype=bool)
    numbers = np.array([_unshared_numbers(pair) for pair in pairs], dtype=np.float64)
    forward, backward = words_explained
    log_source, log_target = np.log1p(source.sizes()), np.log1p(target.sizes())
    columns = [
        forward,
        backward,
        forward * backward,
        forward**2,
        backward**2,
        forward * log_target,
        backward * log_source,
        log_source,
        log_target,
        source.unknown / np.maximum(source.sizes() + source.unknown, 1),
        target.unknown / np.maximum(target.sizes() + target.unknown, 1),
        deviation,
        np.maximum(deviation, 0) ** 2,
        np.minimum(deviation, 0) ** 2,
        ends[:, 0] & ~ends[:, 1],
        ~ends[:, 0] & ends[:, 1],
        np.minimum(numbers[:, 0], 3),
        np.minimum(numbers[:, 1], 3),
    ]
    return np.stack([np.asarray(column, dtype=np.float64) for column in columns], axis=1)


def _unshared_numbers(pair: Pair) -> tuple[int, int]:
    """Return how many numbers in digits are only in the source, and how many are only in the target."""
    source, target = ({number.replace(",", "").replace(".", "") for number in _NUMBER.findall(text)} for text in pair)
    return len(source - target), len(target - source)


def _separating(real: np.ndarray, wrong: np.ndarray) -> np.ndarray:
    """Fit a logistic regression by Newton's method with weak L2 regularization. Returns the weights, (F + 1,); the last is the intercept.

    The weights are rounded, because the last bits of a sum depend on the number of threads.
    """
    features = np.concatenate([real, wrong])
    is_wrong = np.repeat([0.0, 1.0], [len(real), len(wrong)])
    center, spread = features.mean(axis=0), features.std(axis=0) + 1e-9
    design = np.concatenate([(features - center) / spread, np.ones((len(features), 1))], axis=1)
    weights = np.zeros(design.shape[1])
    for _ in range(30):
        chance = 1 / (1 + np.exp(-np.clip(design @ weights, -30, 30)))
        gradient = design.T @ (chance - is_wrong) + weights
        curvature = (design * (chance * (1 - chance))[:, None]).T @ design + np.eye(len(weights))
        step = np.linalg.solve(curvature, gradient)
        weights -= step
        if np.abs(step).max() < 1e-9:
            break
    slopes = weights[:-1] / spread
    return np.round(np.append(slopes, weights[-1] - slopes @ center), 6)


def _odds(features: np.ndarray, weights: np.ndarray) -> np.ndarray:
    odds: np.ndarray = np.exp(np.clip((features * weights[:-1]).sum(axis=1) + weights[-1], -50, 50))
    return odds
