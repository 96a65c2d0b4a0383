from __future__ import annotations

import numpy as np
import pytest
from salads import salad

from textmill.base.errors import UserError
from textmill.evaluate.metrics import METRICS
from textmill.evaluate.metrics.interface import Predictions, measure, predictions_of, resamplings
from textmill.evaluate.significance import paired_difference

LOWER_IS_BETTER = set(
    "ter copied bits_per_byte nats_per_token repetition verbatim negative_log_likelihood brier calibration_error training_replies"
    " character_perplexity".split()
)


def full(rows: int = 40) -> Predictions:
    """Predictions to which every metric applies."""
    texts, generator = salad("en", 9, rows=rows), np.random.default_rng(1)
    labels = sorted({wanted[0] for wanted in texts.references})
    probabilities = generator.dirichlet(np.ones(len(labels)), size=rows)
    costs = [[-1.5] * (1 + row % 3) for row in range(rows)]
    sources = ["%s " + source for source in texts.sources]
    return Predictions(sources, texts.hypotheses, texts.references, probabilities, labels, texts.training_texts, costs)


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_has_a_score_an_interval_and_a_paired_test(name: str) -> None:
    texts, weights, metric = full(), resamplings(40, 100, 1), METRICS[name]("en")
    result = measure(metric, texts, weights)
    assert result is not None and 1 <= result.num_segments <= 40 and result.low <= result.high
    assert metric.higher_is_better == (name not in LOWER_IS_BETTER)
    assert metric.unit != "0-100" or name == "ter" or 0 <= result.score <= 100
    same = paired_difference(metric, texts, texts, weights)
    assert same.difference == same.low == same.high == 0 and same.p_value == 1


@pytest.mark.parametrize("name", METRICS)
def test_a_row_that_is_drawn_twice_counts_twice_in_every_metric(name: str) -> None:
    """A metric's statistics belong to single rows: those of chosen rows are the chosen rows of the statistics."""
    texts, metric = full(), METRICS[name]("en")
    rows = [3, 3, 7, 20, 39, 0]
    assert metric.score(metric.statistics(texts)[rows]) == pytest.approx(metric.score(metric.statistics(texts.take(rows))))


def test_predictions_of_different_length_are_refused_in_one_line() -> None:
    with pytest.raises(UserError, match="hypotheses: 1 rows for 2 sources"):
        predictions_of(["a", "b"], ["a"], ["a", "b"])
    with pytest.raises(UserError, match="references: row 2 has none"):
        Predictions(["a", "b"], ["a", "b"], [["a"], []])
    with pytest.raises(UserError, match=r"label_probabilities: \(1, 2\), not \(1, 1\)"):
        Predictions(["a"], ["b"], [["a"]], np.ones((1, 2)), ["b"])


def test_a_metric_that_does_not_apply_cannot_be_compared() -> None:
    texts = predictions_of(["a"] * 9, ["b"] * 9, ["c"] * 9)
    with pytest.raises(UserError, match="brier does not apply"):
        paired_difference(METRICS["brier"]("en"), texts, texts, resamplings(9, 100, 1))
