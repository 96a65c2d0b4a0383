"""Is one system better than another, or was it the choice of test examples?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from textmill.evaluate.metrics import Metric, Texts, resampled_sums


@dataclass(frozen=True)
class Difference:
    """first minus second: of the scores, the ends of its 95 % interval, and a two-sided p-value."""

    difference: float
    low: float
    high: float
    p_value: float

    @property
    def is_significant(self) -> bool:
        """Does the interval leave out zero?"""
        return self.low > 0 or self.high < 0


def paired_difference(metric: Metric, sources: Texts, first: Texts, second: Texts, references: Texts, weights: np.ndarray) -> Difference:
    """Paired bootstrap (Koehn 2004): both systems are scored on the same resampled test sets.

    weights: (R, N) from `resamplings`. The p-value is twice the smaller tail at zero, and at least 1 / R.
    """
    statistics = [metric.statistics(sources, hypotheses, references) for hypotheses in (first, second)]
    scores = [np.array([metric.score(sums) for sums in resampled_sums(weights, each)]) for each in statistics]
    differences = scores[0] - scores[1]
    low, high = np.quantile(differences, [0.025, 0.975])
    tail = min(float((differences <= 0).mean()), float((differences >= 0).mean()))
    observed = metric.score(statistics[0].sum(axis=0)) - metric.score(statistics[1].sum(axis=0))
    return Difference(observed, float(low), float(high), min(max(2 * tail, 1 / len(weights)), 1.0))
