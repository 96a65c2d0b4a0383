from __future__ import annotations

import numpy as np
import pytest

from textmill.base.errors import UserError
from textmill.evaluate.calibration import apply_temperature, calibration_table, fit_temperature, softmax
from textmill.evaluate.metrics import METRICS
from textmill.evaluate.metrics.interface import Predictions

LABELS = ("a", "b", "c")


def draw(rows: int, temperature: float, seed: int) -> tuple[np.ndarray, list[str]]:
    """Probabilities that are right after a temperature, and labels drawn from the right ones."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(scale=2, size=(rows, 3))
    right = softmax(logits)
    truth = [LABELS[generator.choice(3, p=each)] for each in right]
    return softmax(logits * temperature), truth


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_that_was_used_is_found(temperature: float) -> None:
    probabilities, truth = draw(6000, temperature, 1)
    assert fit_temperature(probabilities, LABELS, truth) == pytest.approx(temperature, rel=0.06)


def test_the_calibration_error_is_smaller_after_the_temperature() -> None:
    held_out, truth = draw(3000, 3, 1)
    probabilities, wanted = draw(3000, 3, 2)
    temperature = fit_temperature(held_out, LABELS, truth)
    metric = METRICS["calibration_error"]("en")

    def error(values: np.ndarray) -> float:
        outputs = [LABELS[column] for column in values.argmax(axis=1)]
        return metric.score(metric.statistics(Predictions([""] * 3000, outputs, [(label,) for label in wanted], values, LABELS)))

    scaled = apply_temperature(probabilities, temperature)
    assert error(scaled) < 4 < 10 < error(probabilities)
    assert np.array_equal(scaled.argmax(axis=1), probabilities.argmax(axis=1)) and np.allclose(scaled.sum(axis=1), 1)


def test_a_temperature_of_1_changes_nothing_and_2_takes_the_root() -> None:
    assert apply_temperature(np.array([[0.2, 0.8]]), 1) == pytest.approx(np.array([[0.2, 0.8]]))
    assert apply_temperature(np.array([[0.1, 0.9]]), 2) == pytest.approx(np.array([[0.25, 0.75]]))
    assert apply_temperature(np.array([[0.0, 1.0]]), 1) == pytest.approx(np.array([[0.0, 1.0]]))


def test_rows_with_an_unknown_label_are_left_out() -> None:
    probabilities, truth = draw(500, 2, 1)
    more = np.concatenate([probabilities, probabilities[:50]])
    assert fit_temperature(more, LABELS, [*truth, *["z"] * 50]) == fit_temperature(probabilities, LABELS, truth)
    with pytest.raises(UserError, match="no held-out row has a known label"):
        fit_temperature(probabilities[:2], LABELS, ["y", "z"])


def test_the_table_of_a_calibration_plot() -> None:
    values = np.array([[0.9, 0.1], [0.88, 0.12], [0.2, 0.8]])
    table = calibration_table(Predictions([""] * 3, ["a"] * 3, [("a",), ("b",), ("b",)], values, ("a", "b")))
    assert table["rows"].tolist() == [1, 2] and table["accuracy"].tolist() == [1, 0.5]
    assert table["confidence"].tolist() == pytest.approx([0.8, 0.89])
    assert table["low"].tolist() == pytest.approx([11 / 15, 13 / 15]) and table["high"].tolist() == pytest.approx([12 / 15, 14 / 15])
