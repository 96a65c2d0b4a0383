"""Metrics as functions of summed segment statistics, so that scores, intervals and comparisons need only one pass over the texts.

Dimensions: N segments, R resamplings, C statistics per segment.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from sacrebleu.metrics import BLEU, CHRF

from textmill.text.placeholders import placeholders

Texts = Sequence[str]
_BLEU_TOKENIZERS = dict.fromkeys(("zh", "yue", "wuu"), "zh") | dict.fromkeys(("ja", "th", "lo", "km", "my"), "char")
_RESAMPLINGS_AT_A_TIME = 50


@dataclass(frozen=True)
class Metric:
    """A metric.

    signature: how the score is computed.
    statistics: maps sources, hypotheses and references to (N, C).
    score: maps summed statistics (C,) to a score from 0 to 100.
    """

    name: str
    signature: str
    statistics: Callable[[Texts, Texts, Texts], np.ndarray]
    score: Callable[[np.ndarray], float]


@dataclass(frozen=True)
class MetricResult:
    """A score from 0 to 100.

    low, high: ends of the 95 % bootstrap interval.
    num_segments: number of segments that the score is computed on.
    """

    name: str
    score: float
    low: float
    high: float
    signature: str
    num_segments: int


def bleu(target_language: str) -> Metric:
    """BLEU (Papineni et al. 2002), computed by sacreBLEU (Post 2018).

    Tokenizer: zh for Chinese, char for other languages without spaces between words, 13a for all others.
    """
    return _sacrebleu_metric("bleu", BLEU(tokenize=_BLEU_TOKENIZERS.get(target_language, "13a")))


def chrf(target_language: str) -> Metric:
    """chrF2 (Popović 2015), computed by sacreBLEU."""
    return _sacrebleu_metric("chrf", CHRF())


def exact_match(target_language: str) -> Metric:
    """Share of outputs that equal the reference exactly."""

    def statistics(sources: Texts, hypotheses: Texts, references: Texts) -> np.ndarray:
        return np.array([[hypothesis == reference, 1] for hypothesis, reference in zip(hypotheses, references, strict=True)], dtype=float)

    return Metric("exact_match", "exact_match|equal strings", statistics, _share)


def placeholders_kept(target_language: str) -> Metric:
    """Share of outputs with exactly the placeholders of the source (%s, {name}), among sources with placeholders."""

    def statistics(sources: Texts, hypotheses: Texts, references: Texts) -> np.ndarray:
        found = [(placeholders(source), placeholders(hypothesis)) for source, hypothesis in zip(sources, hypotheses, strict=True)]
        return np.array([[bool(wanted) and wanted == kept, bool(wanted)] for wanted, kept in found], dtype=float)

    return Metric("placeholders_kept", "placeholders_kept|equal multisets", statistics, _share)


METRICS: dict[str, Callable[[str], Metric]] = {
    "chrf": chrf,
    "bleu": bleu,
    "exact_match": exact_match,
    "placeholders_kept": placeholders_kept,
}


def measure(metric: Metric, sources: Texts, hypotheses: Texts, references: Texts, weights: np.ndarray) -> MetricResult | None:
    """Compute a score and its 95 % percentile bootstrap interval (Koehn 2004).

    weights: (R, N) from `resamplings`.
    Returns None if the metric does not apply to these texts, for example if no source has placeholders.
    """
    statistics = metric.statistics(sources, hypotheses, references)
    score = metric.score(statistics.sum(axis=0))
    if np.isnan(score):
        return None
    scores = np.array([metric.score(sums) for sums in resampled_sums(weights, statistics)])
    low, high = np.nanquantile(scores, [0.025, 0.975])
    counted = int(statistics[:, -1].sum()) if metric.score is _share else len(statistics)
    return MetricResult(metric.name, score, float(low), float(high), metric.signature, counted)


def resamplings(num_segments: int, samples: int, seed: int) -> np.ndarray:
    """Draw bootstrap resamplings. Returns how often each segment is drawn in each: (R, N) int32; every row sums to N."""
    generator = np.random.default_rng(seed)
    drawn = np.empty((samples, num_segments), dtype=np.int32)
    for part in _parts(samples):  # in parts, to save memory; the draws are the same
        drawn[part] = generator.multinomial(num_segments, np.full(num_segments, 1 / num_segments), size=len(drawn[part]))
    return drawn


def resampled_sums(weights: np.ndarray, statistics: np.ndarray) -> np.ndarray:
    """Sum the statistics (N, C) over each resampling (R, N). Returns (R, C) float64."""
    return np.concatenate([weights[part].astype(np.float64) @ statistics for part in _parts(len(weights))])


def _parts(samples: int) -> list[slice]:
    return [slice(start, start + _RESAMPLINGS_AT_A_TIME) for start in range(0, samples, _RESAMPLINGS_AT_A_TIME)]


def _sacrebleu_metric(name: str, metric: BLEU | CHRF) -> Metric:
    # sacreBLEU 2.6 has no public function for segment statistics; its own significance module uses these two methods.
    def statistics(sources: Texts, hypotheses: Texts, references: Texts) -> np.ndarray:
        return np.array(metric._extract_corpus_statistics(list(hypotheses), [list(references)]), dtype=float)

    def score(sums: np.ndarray) -> float:
        return float(metric._compute_score_from_stats([round(value) for value in sums.tolist()]).score)

    metric._extract_corpus_statistics(["a"], [["a"]])  # only then does the signature contain the number of references
    return Metric(name, str(metric.get_signature()), statistics, score)


def _share(sums: np.ndarray) -> float:
    return float(100 * sums[0] / sums[1]) if sums[1] else float("nan")
