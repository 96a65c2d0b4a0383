"""What a metric is, and how its score, its interval and its comparisons are computed in one pass over the texts.

Dimensions: N segments, L labels, R resamplings, C statistics per segment.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from textmill.base.errors import UserError

PERCENT = "0-100"
_RESAMPLINGS_AT_A_TIME = 50


@dataclass(frozen=True, eq=False)
class Predictions:
    """The outputs of one system on a test set, with all that a metric may need. Two objects are equal only if they are the same.

    references: one or more correct outputs per row. Metrics that can use one only take the first.
    label_probabilities: (N, L) for classification; each row sums to 1.
    labels: the L labels, in the order of the columns.
    training_texts: targets of the training data, for measures of overlap.
    token_log_probabilities: per row, the natural logarithm of the probability of each token of the first reference, END included.
    Raises UserError if a row has no reference, or if the parts differ in length.
    """

    sources: Sequence[str]
    hypotheses: Sequence[str]
    references: Sequence[Sequence[str]]
    label_probabilities: np.ndarray | None = None
    labels: Sequence[str] = ()
    training_texts: Sequence[str] = ()
    token_log_probabilities: Sequence[Sequence[float]] | None = None

    def __post_init__(self) -> None:
        parts = {
            "hypotheses": self.hypotheses,
            "references": self.references,
            "label_probabilities": self.label_probabilities,
            "token_log_probabilities": self.token_log_probabilities,
        }
        for name, part in parts.items():
            if part is not None and len(part) != len(self.sources):
                raise UserError(f"{name}: {len(part)} rows for {len(self.sources)} sources. Give one per source.")
        for row, texts in enumerate(self.references, 1):
            if not len(texts):
                raise UserError(f"references: row {row} has none. Give one or more per source.")
        if self.label_probabilities is not None and self.label_probabilities.shape != (len(self.sources), len(self.labels)):
            raise UserError(f"label_probabilities: {self.label_probabilities.shape}, not {(len(self.sources), len(self.labels))}.")

    def take(self, rows: Sequence[int] | np.ndarray) -> Predictions:
        """Return the predictions of these rows (row numbers, which may repeat)."""
        chosen = [int(row) for row in rows]
        return replace(
            self,
            sources=[self.sources[row] for row in chosen],
            hypotheses=[self.hypotheses[row] for row in chosen],
            references=[self.references[row] for row in chosen],
            label_probabilities=None if self.label_probabilities is None else self.label_probabilities[chosen],
            token_log_probabilities=(
                None if self.token_log_probabilities is None else [self.token_log_probabilities[row] for row in chosen]
            ),
        )

    @property
    def first_references(self) -> list[str]:
        """The first reference of each row."""
        return [texts[0] for texts in self.references]


def predictions_of(sources: Sequence[str], hypotheses: Sequence[str], references: Sequence[str]) -> Predictions:
    """Return the predictions of a text-to-text task with one reference per row."""
    return Predictions(sources, hypotheses, [(reference,) for reference in references])


@dataclass(frozen=True)
class Metric:
    """A metric. Make one with `additive`, `share` or `corpus_level`.

    signature: how the score is computed, for one reference per row.
    statistics: maps predictions to an array with one row per segment. Rows can be selected to score a part of the test set.
    score: maps the rows of a test set to its score. NaN if the metric does not apply to these rows.
    resampled: maps the rows, and weights (R, N) from `resamplings`, to the scores (R,) of the resampled test sets.
    higher_is_better: whether the larger of two scores is the better one.
    unit: PERCENT, or the unit of the score.
    counted: maps the rows to the number of segments that the score is computed on.
    """

    name: str
    signature: str
    statistics: Callable[[Predictions], np.ndarray]
    score: Callable[[np.ndarray], float]
    resampled: Callable[[np.ndarray, np.ndarray], np.ndarray]
    higher_is_better: bool = True
    unit: str = PERCENT
    counted: Callable[[np.ndarray], int] = len

    def signature_of(self, predictions: Predictions) -> str:
        """The signature with the number of references of these predictions, or `var` if rows differ."""
        counts = {len(texts) for texts in predictions.references}
        return self.signature.replace("nrefs:1", f"nrefs:{counts.pop() if len(counts) == 1 else 'var'}")


@dataclass(frozen=True)
class MetricResult:
    """A score, in the unit of the metric.

    low, high: ends of the 95 % bootstrap interval.
    num_segments: number of segments that the score is computed on.
    """

    name: str
    score: float
    low: float
    high: float
    signature: str
    num_segments: int


def additive(
    name: str,
    signature: str,
    statistics: Callable[[Predictions], np.ndarray],
    score: Callable[[np.ndarray], float],
    higher_is_better: bool = True,
    unit: str = PERCENT,
) -> Metric:
    """Return a metric that is a function of sums over the segments.

    statistics: maps predictions to (N, C).
    score: maps the sums (C,) to a score.
    """

    def whole(rows: np.ndarray) -> float:
        return score(rows.sum(axis=0))

    def resampled(rows: np.ndarray, weights: np.ndarray) -> np.ndarray:
        return np.array([score(sums) for sums in resampled_sums(weights, rows)])

    return Metric(name, signature, statistics, whole, resampled, higher_is_better, unit)


def share(
    name: str,
    signature: str,
    statistics: Callable[[Predictions], np.ndarray],
    higher_is_better: bool = True,
    unit: str = PERCENT,
) -> Metric:
    """Return the mean of a value over the segments that it applies to, times 100 if the unit is PERCENT.

    statistics: maps predictions to (N, 2): the value, and whether it applies (1 or 0). The value of other segments is 0.
    """
    score = ratio(100 if unit == PERCENT else 1)
    return replace(additive(name, signature, statistics, score, higher_is_better, unit), counted=lambda rows: int(rows[:, -1].sum()))


def corpus_level(
    name: str,
    signature: str,
    statistics: Callable[[Predictions], np.ndarray],
    score: Callable[[np.ndarray], float],
    higher_is_better: bool = True,
    unit: str = PERCENT,
) -> Metric:
    """Return a metric that is not a function of sums, such as a number of different words. Each resampled test set is scored as a whole.

    statistics: maps predictions to (N,) objects, one per segment.
    score: maps such an array to a score. Segments may repeat. The metric is `centered`.
    """

    def resampled(rows: np.ndarray, weights: np.ndarray) -> np.ndarray:
        return np.array([score(np.repeat(rows, counts)) for counts in weights])

    return centered(Metric(name, signature, statistics, score, resampled, higher_is_better, unit))


def centered(metric: Metric) -> Metric:
    """Return a metric whose resampled scores are shifted so that their mean is the score of the test set, and are at least 0.

    For scores that are biased on a resampled test set: it repeats segments, so it has fewer different words and a larger calibration error.
    Without the shift, the interval would not contain the score.
    """

    def resampled(rows: np.ndarray, weights: np.ndarray) -> np.ndarray:
        scores = metric.resampled(rows, weights)
        shifted: np.ndarray = scores - np.nanmean(scores) + metric.score(rows)
        shifted[shifted < 0] = 0
        return shifted

    return replace(metric, resampled=resampled)


def remembering(metric: Metric) -> Metric:
    """Return the metric, which computes the statistics of each predictions object once."""
    return replace(metric, statistics=cache(metric.statistics))


def ratio(factor: float = 1) -> Callable[[np.ndarray], float]:
    """Return the function that divides the first of two sums by the second, times `factor`. NaN if the second sum is 0."""
    return lambda sums: float(factor * sums[0] / sums[1]) if sums[1] else float("nan")


def measure(metric: Metric, predictions: Predictions, weights: np.ndarray) -> MetricResult | None:
    """Compute a score and its 95 % percentile bootstrap interval (Koehn 2004).

    weights: (R, N) from `resamplings`.
    Returns None if the metric does not apply to these predictions, for example if no source has placeholders.
    """
    statistics = metric.statistics(predictions)
    score = metric.score(statistics)
    if np.isnan(score):
        return None
    low, high = np.nanquantile(metric.resampled(statistics, weights), [0.025, 0.975])
    return MetricResult(metric.name, score, float(low), float(high), metric.signature_of(predictions), metric.counted(statistics))


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
