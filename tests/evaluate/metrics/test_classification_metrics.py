from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, brier_score_loss, f1_score, log_loss

from textmill.evaluate.metrics import METRICS
from textmill.evaluate.metrics.interface import Predictions, measure, resamplings

LABELS = ("ENTY", "HUM", "LOC", "NUM")
OF_PROBABILITIES = ("negative_log_likelihood", "brier", "calibration_error")


def score(name: str, predictions: Predictions) -> float:
    metric = METRICS[name]("en")
    return metric.score(metric.statistics(predictions))


def guesses(rows: int = 300, seed: int = 1) -> Predictions:
    generator = np.random.default_rng(seed)
    truth = generator.integers(0, len(LABELS) - 1, rows)  # NUM is never true
    logits = generator.normal(size=(rows, len(LABELS))) + 1.2 * np.eye(len(LABELS))[truth]
    probabilities = np.exp(2 * logits) / np.exp(2 * logits).sum(axis=1, keepdims=True)
    outputs = [LABELS[each] for each in probabilities.argmax(axis=1)]
    return Predictions([""] * rows, outputs, [(LABELS[each],) for each in truth], probabilities, LABELS)


def test_scores_of_labels_and_probabilities_are_those_of_scikit_learn() -> None:
    texts = guesses()
    truth = texts.first_references
    assert score("accuracy", texts) == pytest.approx(100 * accuracy_score(truth, texts.hypotheses))
    assert score("macro_f1", texts) == pytest.approx(100 * f1_score(truth, texts.hypotheses, average="macro"))
    probabilities = texts.label_probabilities
    assert score("negative_log_likelihood", texts) == pytest.approx(log_loss(truth, probabilities, labels=LABELS))
    assert score("brier", texts) == pytest.approx(brier_score_loss(truth, probabilities, labels=LABELS, scale_by_half=False))


def test_a_resampled_macro_f1_is_that_of_scikit_learn_on_the_resampled_rows() -> None:
    texts = guesses(rows=25)
    metric, weights = METRICS["macro_f1"]("en"), resamplings(25, 40, 3)
    found = metric.resampled(metric.statistics(texts), weights)
    for row, value in zip(weights, found, strict=True):
        chosen = texts.take(np.repeat(np.arange(25), row))
        assert value == pytest.approx(100 * f1_score(chosen.first_references, chosen.hypotheses, average="macro"))


def test_an_output_that_is_no_label_is_wrong_and_no_class_of_its_own() -> None:
    texts = replace(guesses(), label_probabilities=None)
    outputs = ["nonsense" if row % 5 == 0 else output for row, output in enumerate(texts.hypotheses)]
    expected = f1_score(texts.first_references, outputs, average="macro", labels=sorted({*texts.hypotheses, *texts.first_references}))
    assert score("macro_f1", replace(texts, hypotheses=outputs)) == pytest.approx(100 * expected)


def test_the_calibration_error_of_known_confidences() -> None:
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.2, 0.8], [0.6, 0.4]])
    texts = Predictions([""] * 4, ["a"] * 4, [("a",), ("b",), ("b",), ("a",)], probabilities, ("a", "b"))
    # Bins: 0.9 twice, half right; 0.8 once, right; 0.6 once, right.
    assert score("calibration_error", texts) == pytest.approx(100 * (2 * 0.4 + 0.2 + 0.4) / 4)


def test_the_calibration_error_is_that_of_a_loop_over_bins() -> None:
    texts = guesses()
    confidence = texts.label_probabilities.max(axis=1)
    hit = np.array([output == truth for output, truth in zip(texts.hypotheses, texts.first_references, strict=True)])
    expected = 0.0
    for low, high in zip(np.linspace(0, 1, 16)[:-1], np.linspace(0, 1, 16)[1:], strict=True):
        inside = (confidence > low) & (confidence <= high)
        if inside.any():
            expected += inside.mean() * abs(hit[inside].mean() - confidence[inside].mean())
    assert expected > 0.02 and score("calibration_error", texts) == pytest.approx(100 * expected)


@pytest.mark.parametrize("name", OF_PROBABILITIES)
def test_a_measure_of_probabilities_does_not_apply_without_them(name: str) -> None:
    texts = guesses()
    assert measure(METRICS[name]("en"), replace(texts, label_probabilities=None), resamplings(300, 100, 1)) is None
    result = measure(METRICS[name]("en"), texts, resamplings(300, 100, 1))
    assert result is not None and result.low <= result.score <= result.high
    assert not METRICS[name]("en").higher_is_better


def test_a_true_label_that_is_unknown_has_probability_0() -> None:
    texts = Predictions(["", ""], ["a", "a"], [("a",), ("c",)], np.array([[1.0, 0], [1, 0]]), ("a", "b"))
    assert score("brier", texts) == pytest.approx((0 + 2) / 2)
    assert score("negative_log_likelihood", texts) == pytest.approx(-np.log(np.finfo(float).eps) / 2)
    assert score("calibration_error", texts) == pytest.approx(50)


def test_the_interval_of_a_small_calibration_error_holds_the_score() -> None:
    generator = np.random.default_rng(1)
    probabilities = generator.dirichlet(np.ones(2), size=400)
    truth = [("a",) if generator.random() < share else ("b",) for share in probabilities[:, 0]]
    result = measure(
        METRICS["calibration_error"]("en"), Predictions([""] * 400, ["a"] * 400, truth, probabilities, ("a", "b")), resamplings(400, 200, 1)
    )
    assert result is not None and 0 <= result.low < result.score < result.high
