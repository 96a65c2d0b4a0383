"""Test whether the difference between two systems is statistically significant."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from textmill.base.errors import UserError
from textmill.evaluate.metrics.interface import Metric, Predictions


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


def paired_difference(metric: Metric, first: Predictions, second: Predictions, weights: np.ndarray) -> Difference:
    """Compare two systems by paired bootstrap (Koehn 2004): both are scored on the same resampled test sets.

    first, second: on the same rows. Whether a positive difference is an improvement depends on `metric.higher_is_better`.
    weights: (R, N) from `resamplings`. Resamplings that the metric does not apply to are left out.
    The p-value is twice the smaller tail at zero, and at least 1 / R.
    Raises UserError if the metric does not apply to one of the systems.
    """
    statistics = [metric.statistics(predictions) for predictions in (first, second)]
    scores = [metric.resampled(each, weights) for each in statistics]
    observed = metric.score(statistics[0]) - metric.score(statistics[1])
    if np.isnan(observed):
        raise UserError(f"the metric {metric.name} does not apply to these predictions, so two systems cannot be compared on it.")
    differences = scores[0] - scores[1]
    differences = differences[~np.isnan(differences)]
    low, high = np.quantile(differences, [0.025, 0.975])
    tail = min(float((differences <= 0).mean()), float((differences >= 0).mean()))
    return Difference(observed, float(low), float(high), min(max(2 * tail, 1 / len(weights)), 1.0))
