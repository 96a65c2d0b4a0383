"""Test whether the difference between two systems is statistically significant."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from textmill.evaluate.metrics import Metric, Texts, resampled_sums


@dataclass(frozen=True)
class Difference:
    """The score of the first system minus the score of the second.

    low, high: ends of the 95 % interval of the difference.
    p_value: two-sided.
    """

    difference: float
    low: float
    high: float
    p_value: float

    @property
    def is_significant(self) -> bool:
        """True if the interval does not contain zero."""
        return self.low > 0 or self.high < 0


def paired_difference(metric: Metric, sources: Texts, first: Texts, second: Texts, references: Texts, weights: np.ndarray) -> Difference:
    """Compare two systems by paired bootstrap (Koehn 2004): both are scored on the same resampled test sets.

    weights: (R, N) from `resamplings`.
    The p-value is twice the smaller tail at zero, and at least 1 / R.
    """
    statistics = [metric.statistics(sources, hypotheses, references) for hypotheses in (first, second)]
    scores = [np.array([metric.score(sums) for sums in resampled_sums(weights, each)]) for each in statistics]
    differences = scores[0] - scores[1]
    low, high = np.quantile(differences, [0.025, 0.975])
    tail = min(float((differences <= 0).mean()), float((differences >= 0).mean()))
    observed = metric.score(statistics[0].sum(axis=0)) - metric.score(statistics[1].sum(axis=0))
    return Difference(observed, float(low), float(high), min(max(2 * tail, 1 / len(weights)), 1.0))
