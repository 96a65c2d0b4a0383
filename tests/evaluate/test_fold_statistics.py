from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.integrate import quad

from textmill.base.errors import UserError
from textmill.evaluate.fold_statistics import compare_folds, fold_mean


def test_the_interval_of_three_folds_by_hand() -> None:
    found = fold_mean([80, 82, 84], train_size=200, test_size=100)
    # s = 2; s * sqrt(1/3 + 100/200) = 2 * 0.912871; the 97.5 % quantile of t with 2 degrees of freedom is 4.302653.
    assert (found.mean, found.deviation) == (82, pytest.approx(2))
    assert found.half_width == pytest.approx(2 * 0.912871 * 4.302653, rel=1e-5)
    assert (found.low, found.high) == pytest.approx((82 - 7.855533, 82 + 7.855533), rel=1e-5)
    assert str(found) == "82.00 ± 7.86 (3 folds, ± 3.9 standard deviations)"


def test_the_interval_of_ten_folds_by_hand() -> None:
    scores = [70, 71, 72, 73, 74, 75, 76, 77, 78, 79]
    found = fold_mean(scores, train_size=9, test_size=1)
    # The variance is 82.5 / 9; 1/10 + 1/9 = 0.211111; the quantile of t with 9 degrees of freedom is 2.262157.
    assert found.deviations == pytest.approx(2.262157 * math.sqrt(0.211111), rel=1e-5)
    assert found.half_width == pytest.approx(math.sqrt(82.5 / 9) * 2.262157 * math.sqrt(0.211111), rel=1e-5)


def test_the_posterior_of_two_folds_by_hand() -> None:
    # Differences 1 and 3: mean 2, s² = 2, variance 2 * (1/2 + 1) = 3. With one degree of freedom, Student's distribution is Cauchy's.
    found = compare_folds([11, 13], [10, 10], train_size=1, test_size=1, equivalence=1)

    def cauchy(value: float) -> float:
        return 0.5 + math.atan((value - 2) / math.sqrt(3)) / math.pi

    assert found.mean_difference == 2
    assert found.first_lower == pytest.approx(cauchy(-1)) and found.first_higher == pytest.approx(1 - cauchy(1))
    assert found.first_lower == pytest.approx(1 / 6) and found.first_higher == pytest.approx(2 / 3)
    assert found.first_lower + found.equivalent + found.first_higher == pytest.approx(1)


def test_the_posterior_of_many_folds_is_the_integral_of_students_density() -> None:
    generator = np.random.default_rng(1)
    first, second = generator.normal(81, 1, 10), generator.normal(80, 1, 10)
    found = compare_folds(first, second, train_size=900, test_size=100, equivalence=0.5)
    differences = first - second
    spread = math.sqrt(differences.var(ddof=1) * (1 / 10 + 1 / 9))

    def density(value: float) -> float:
        return (
            math.gamma(5) / math.sqrt(9 * math.pi) / math.gamma(4.5) / spread * (1 + ((value - differences.mean()) / spread) ** 2 / 9) ** -5
        )

    assert found.equivalent == pytest.approx(quad(density, -0.5, 0.5)[0], abs=1e-6)
    swapped = compare_folds(second, first, train_size=900, test_size=100, equivalence=0.5)
    assert (swapped.first_lower, swapped.first_higher) == pytest.approx((found.first_higher, found.first_lower))


def test_equal_differences_leave_no_doubt() -> None:
    assert compare_folds([5, 6], [5, 6], 1, 1, equivalence=1).equivalent == 1
    assert compare_folds([9, 10], [5, 6], 1, 1, equivalence=1).first_higher == 1
    assert compare_folds([5, 6], [9, 10], 1, 1, equivalence=1).first_lower == 1


def test_wrong_numbers_of_folds_are_refused_in_one_line() -> None:
    with pytest.raises(UserError, match="1 fold has no interval"):
        fold_mean([80], 2, 1)
    with pytest.raises(UserError, match="2 folds cannot be compared with 3"):
        compare_folds([1, 2], [1, 2, 3], 2, 1, 0)
    with pytest.raises(UserError, match="0 scored rows"):
        fold_mean([80, 81], 2, 0)
