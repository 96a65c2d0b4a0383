from __future__ import annotations

import math

import pytest

from textmill.evaluate.significance import Difference
from textmill.report.page import smoothing_floor
from textmill.report.plots import nice_ticks
from textmill.report.verdict import outcome, signed, tone


@pytest.mark.parametrize(
    ("low", "high", "must_win", "side", "colour"),
    [
        (0.5, 1.5, True, "better", "good"),
        (0.5, 1.5, False, "better", "good"),
        (-0.5, 0.5, False, "unclear", "neutral"),
        (-0.5, 0.5, True, "unclear", "bad"),
        (0.0, 0.0, False, "unclear", "neutral"),
        (-1.5, -0.5, False, "worse", "bad"),
        (-1.5, -0.5, True, "worse", "bad"),
    ],
)
def test_the_colour_of_a_comparison_says_what_it_means(low: float, high: float, must_win: bool, side: str, colour: str) -> None:
    result = Difference((low + high) / 2, low, high, 0.05)
    assert (outcome(result), tone(result, must_win)) == (side, colour)


def test_signs_are_as_wide_as_digits() -> None:
    assert (signed(1.26), signed(-0.456, 2)) == ("+1.3", "−0.46")


@pytest.mark.parametrize(("epsilon", "vocabulary"), [(0.1, 3000), (0.2, 50)])
def test_the_floor_of_a_smoothed_loss_is_the_entropy_of_its_target(epsilon: float, vocabulary: int) -> None:
    target = [1 - epsilon + epsilon / vocabulary] + [epsilon / vocabulary] * (vocabulary - 1)
    assert smoothing_floor(epsilon, vocabulary) == pytest.approx(-sum(share * math.log(share) for share in target))
    assert smoothing_floor(0.0, vocabulary) == 0


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [(0, 1900, [0, 500, 1000, 1500]), (2, 7, [2, 4, 6]), (0, 1, [0, 0.25, 0.5, 0.75, 1]), (0, 700, [0, 200, 400, 600])],
)
def test_ticks_are_round_numbers(low: float, high: float, ticks: list[float]) -> None:
    assert nice_ticks(low, high) == pytest.approx(ticks)
