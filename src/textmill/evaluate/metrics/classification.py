"""Metrics of classification. The true label of a row is its first reference.

Measures of probabilities need `Predictions.label_probabilities` and do not apply without them.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from textmill.evaluate.metrics.interface import Metric, Predictions, additive, centered, ratio, share

BINS = 15
_SMALLEST = float(np.finfo(float).eps)  # as in scikit-learn's log_loss


def accuracy(target_language: str) -> Metric:
    """Share of the outputs that are the true label."""

    def statistics(predictions: Predictions) -> np.ndarray:
        pairs = zip(predictions.hypotheses, predictions.first_references, strict=True)
        return np.array([[output == label, 1] for output, label in pairs], dtype=float)

    return share("accuracy", "accuracy|equal strings", statistics)


def macro_f1(target_language: str) -> Metric:
    """Unweighted mean of the F1 of each label, as scikit-learn's f1_score(average="macro").

    Labels that are neither true nor predicted in a (resampled) test set are left out. An output that is no label is wrong, and is no class of its own.
    """

    def statistics(predictions: Predictions) -> np.ndarray:
        truth = predictions.first_references
        labels = {label: column for column, label in enumerate(sorted({*predictions.labels, *truth}))}
        counts = np.zeros((len(truth), 3, len(labels)))  # per label: true positives, false positives, false negatives
        for row, (output, label) in enumerate(zip(predictions.hypotheses, truth, strict=True)):
            if output == label:
                counts[row, 0, labels[label]] = 1
                continue
            counts[row, 2, labels[label]] = 1
            if output in labels:
                counts[row, 1, labels[output]] = 1
        return counts.reshape(len(truth), -1)  # (N, 3 L)

    def score(sums: np.ndarray) -> float:
        hits, wrong, missed = sums.reshape(3, -1)
        total = 2 * hits + wrong + missed
        return float(100 * np.mean(2 * hits[total > 0] / total[total > 0]))

    return additive("macro_f1", "macro_f1|labels that occur", statistics, score)


def negative_log_likelihood(target_language: str) -> Metric:
    """Mean negative log probability of the true label, in nats. A probability is at least 2.2e-16; that of an unknown label is 0."""

    def value(probabilities: np.ndarray, truth: np.ndarray) -> np.ndarray:
        logarithms: np.ndarray = np.log(np.clip((probabilities * truth).sum(axis=1), _SMALLEST, 1))
        return -logarithms

    return _of_probabilities("negative_log_likelihood", "negative_log_likelihood|natural logarithm", value, "nats")


def brier(target_language: str) -> Metric:
    """Brier score: mean squared distance between the probabilities and the true label, summed over the labels, from 0 to 2 (Brier 1950)."""

    def value(probabilities: np.ndarray, truth: np.ndarray) -> np.ndarray:
        distances: np.ndarray = ((probabilities - truth) ** 2).sum(axis=1)
        distances += truth.sum(axis=1) == 0  # an unknown label is a column with probability 0
        return distances

    return _of_probabilities("brier", "brier|sum over labels", value, "0-2")


def calibration_error(target_language: str) -> Metric:
    """Expected calibration error (Naeini et al. 2015, Guo et al. 2017) of the most probable label, in 15 bins of equal width, in per cent."""

    def statistics(predictions: Predictions) -> np.ndarray:
        if predictions.label_probabilities is None:
            return np.zeros((len(predictions.sources), 3 * BINS))
        confidence, hit, bins = confidence_bins(predictions)
        counts = np.zeros((len(confidence), 3, BINS))  # per bin: rows, sum of the confidences, number of hits
        counts[np.arange(len(confidence)), :, bins] = np.stack([np.ones(len(confidence)), confidence, hit], axis=1)
        return counts.reshape(len(confidence), -1)  # (N, 3 BINS)

    def score(sums: np.ndarray) -> float:
        rows, confidence, hits = sums.reshape(3, -1)
        return float(100 * np.abs(confidence - hits).sum() / rows.sum()) if rows.any() else float("nan")

    return centered(additive("calibration_error", f"calibration_error|bins:{BINS}|equal width", statistics, score, higher_is_better=False))


def confidence_bins(predictions: Predictions) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return, per row, the largest probability, whether its label is true, and its bin: three arrays (N,).

    Bin b holds confidences in (b / 15, (b + 1) / 15]. Requires label_probabilities.
    """
    probabilities = predictions.label_probabilities
    assert probabilities is not None
    confidence = probabilities.max(axis=1)
    chosen = [predictions.labels[column] for column in probabilities.argmax(axis=1)]
    hit = np.array([label == truth for label, truth in zip(chosen, predictions.first_references, strict=True)], dtype=float)
    return confidence, hit, np.digitize(confidence, np.linspace(0, 1, BINS + 1)[1:-1], right=True)


def _of_probabilities(name: str, signature: str, value: Callable[[np.ndarray, np.ndarray], np.ndarray], unit: str) -> Metric:
    """value: maps the probabilities (N, L) and the true labels as ones and zeros (N, L) to (N,)."""

    def statistics(predictions: Predictions) -> np.ndarray:
        if predictions.label_probabilities is None:
            return np.zeros((len(predictions.sources), 2))
        truth = np.array([[label == wanted for label in predictions.labels] for wanted in predictions.first_references], dtype=float)
        return np.stack([value(predictions.label_probabilities, truth), np.ones(len(truth))], axis=1)

    return additive(name, signature, statistics, ratio(), higher_is_better=False, unit=unit)
