"""Mean, interval and comparison of scores over the folds of a cross-validation.

The training sets of two folds overlap, so the scores are correlated and the usual standard error is too small.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import t

from textmill.base.errors import UserError


@dataclass(frozen=True)
class FoldMean:
    """The mean score over folds.

    deviation: the sample standard deviation (n - 1).
    low, high: ends of the 95 % interval, which is mean ± half_width.
    deviations: half_width in standard deviations; it depends on the number and size of the folds only.
    """

    num_folds: int
    mean: float
    deviation: float
    low: float
    high: float
    half_width: float
    deviations: float

    def __str__(self) -> str:
        return f"{self.mean:.2f} ± {self.half_width:.2f} ({self.num_folds} folds, ± {self.deviations:.1f} standard deviations)"


@dataclass(frozen=True)
class FoldComparison:
    """How probable it is that the first system is worse than, practically equal to, or better than the second. The three sum to 1."""

    mean_difference: float
    first_lower: float
    equivalent: float
    first_higher: float


def fold_mean(scores: Sequence[float], train_size: float, test_size: float) -> FoldMean:
    """Return the mean over folds and its corrected 95 % interval (Nadeau and Bengio 2003, corrected resampled t).

    scores: one per fold, all of the same system or all differences of two systems.
    train_size, test_size: number of rows that one fold's model is trained on, and that it is scored on.
    The variance of the mean is s² (1/k + test_size/train_size) instead of s²/k, with k - 1 degrees of freedom.
    Raises UserError with fewer than two folds.
    """
    values = _checked(scores, train_size, test_size)
    mean, deviation, scale = float(values.mean()), float(values.std(ddof=1)), _scale(len(values), train_size, test_size)
    deviations = float(t.ppf(0.975, len(values) - 1)) * scale
    half = deviations * deviation
    return FoldMean(len(values), mean, deviation, mean - half, mean + half, half, deviations)


def compare_folds(
    first: Sequence[float], second: Sequence[float], train_size: float, test_size: float, equivalence: float
) -> FoldComparison:
    """Compare two systems by the Bayesian correlated t-test (Corani and Benavoli 2015; Benavoli et al. 2017, section 4.1).

    first, second: scores of the systems on the same folds.
    equivalence: the region of practical equivalence is ± this difference, in the unit of the scores.
    The posterior of the mean difference is a Student distribution with k - 1 degrees of freedom, around the mean, with the
    variance of Nadeau and Bengio. first_higher is an improvement only for a metric with `higher_is_better`.
    Raises UserError with fewer than two folds, or if the numbers of folds differ.
    """
    if len(first) != len(second):
        raise UserError(f"{len(first)} folds cannot be compared with {len(second)}. Score both systems on the same folds.")
    differences = _checked(np.subtract(first, second), train_size, test_size)
    mean, deviation = float(differences.mean()), float(differences.std(ddof=1))
    spread = deviation * _scale(len(differences), train_size, test_size)
    if math.isclose(spread, 0, abs_tol=1e-12):  # all differences are equal
        lower, higher = float(mean < -equivalence), float(mean > equivalence)
    else:
        posterior = t(len(differences) - 1, loc=mean, scale=spread)
        lower, higher = float(posterior.cdf(-equivalence)), float(posterior.sf(equivalence))
    return FoldComparison(mean, lower, 1 - lower - higher, higher)


def _scale(num_folds: int, train_size: float, test_size: float) -> float:
    return math.sqrt(1 / num_folds + test_size / train_size)


def _checked(scores: Sequence[float] | np.ndarray, train_size: float, test_size: float) -> np.ndarray:
    if len(scores) < 2:
        raise UserError(f"{len(scores)} fold has no interval and no comparison. Use two folds or more (split.num_folds).")
    if min(train_size, test_size) <= 0:
        raise UserError(f"folds with {train_size} training rows and {test_size} scored rows. Both must be above 0.")
    return np.asarray(scores, dtype=float)
