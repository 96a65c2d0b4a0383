"""Temperature scaling of label probabilities (Guo et al. 2017), and the table of a calibration plot.

Dimensions: N rows, L labels.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.optimize import minimize_scalar

from textmill.base.errors import UserError
from textmill.evaluate.metrics.classification import BINS, confidence_bins
from textmill.evaluate.metrics.interface import Predictions

_BOUNDS = (-5.0, 5.0)  # of the natural logarithm of the temperature
_SMALLEST = 1e-300


def fit_temperature(probabilities: np.ndarray, labels: Sequence[str], truth: Sequence[str]) -> float:
    """Return the temperature above 0 with the least negative log-likelihood on held-out rows. 1 leaves probabilities unchanged.

    probabilities: (N, L) of rows that the model was not trained on.
    labels: the L labels, in the order of the columns.
    truth: the true label of each row. Rows with a label that is unknown are left out.
    Raises UserError if no row remains.
    """
    columns = {label: column for column, label in enumerate(labels)}
    rows = [row for row, label in enumerate(truth) if label in columns]
    if not rows:
        raise UserError("no held-out row has a known label, so no temperature can be fitted. Use more rows.")
    kept, wanted = probabilities[rows], np.array([columns[truth[row]] for row in rows])

    def loss(log_temperature: float) -> float:
        scaled = apply_temperature(kept, float(np.exp(log_temperature)))
        return float(-np.log(np.maximum(scaled[np.arange(len(rows)), wanted], _SMALLEST)).mean())

    return float(np.exp(minimize_scalar(loss, bounds=_BOUNDS, method="bounded").x))


def apply_temperature(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Divide the logits by a temperature: probabilities (N, L) to the power of 1 / temperature, scaled to a sum of 1. Ranks stay the same."""
    logits = np.log(np.maximum(probabilities, _SMALLEST)) / temperature
    return softmax(logits)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return the softmax of each row: (N, L)."""
    powers: np.ndarray = np.exp(logits - logits.max(axis=1, keepdims=True))
    normalized: np.ndarray = powers / powers.sum(axis=1, keepdims=True)
    return normalized


def calibration_table(predictions: Predictions) -> pd.DataFrame:
    """Return the points of a calibration plot: one row per bin of the calibration error that is not empty.

    Columns: low and high (ends of the bin), rows, confidence (mean largest probability), accuracy (share of hits); all from 0 to 1.
    """
    confidence, hit, bins = confidence_bins(predictions)
    table = pd.DataFrame({"bin": bins, "confidence": confidence, "accuracy": hit}).groupby("bin")
    means = table.mean().assign(rows=table.size()).reset_index()
    return means.assign(low=means["bin"] / BINS, high=(means["bin"] + 1) / BINS)[["low", "high", "rows", "confidence", "accuracy"]]
