"""What the page shows of a classification: which labels are taken for which, and whether probabilities can be trusted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from textmill.evaluate.calibration import calibration_table
from textmill.evaluate.label_statistics import confusion_matrix
from textmill.evaluate.metrics.interface import Predictions
from textmill.report.results import TaskResults

_MOST_LABELS = 30  # a larger table is not readable
_SYSTEM = "exported"


@dataclass(frozen=True)
class Confusion:
    """rows: true label, number of test rows, and for each predicted label (count, share of the row)."""

    labels: list[str]
    rows: list[tuple[str, int, list[tuple[int, float]]]]


@dataclass(frozen=True)
class CalibrationBin:
    """Rows whose most probable label has about the same probability. confidence: its mean; accuracy: share of right labels. Both in per cent."""

    rows: int
    confidence: float
    accuracy: float


def confusion(results: TaskResults) -> Confusion | None:
    """Return how often the exported model gives each label for each true label; None without labels, or if there are more than 30."""
    predictions = _predictions(results)
    if predictions is None or len(set(predictions.first_references)) > _MOST_LABELS:
        return None
    counts = confusion_matrix(predictions)
    if len(counts.columns) > _MOST_LABELS:
        return None
    totals = counts.sum(axis=1)
    rows = [
        (str(label), int(totals[label]), [(int(count), count / max(int(totals[label]), 1)) for count in counts.loc[label]])
        for label in counts.index
    ]
    return Confusion([str(label) for label in counts.columns], rows)


def calibration(results: TaskResults) -> list[CalibrationBin]:
    """Return the bins of the calibration plot of the exported model; empty without probabilities."""
    predictions = _predictions(results)
    if predictions is None or predictions.label_probabilities is None:
        return []
    table = calibration_table(predictions)
    return [
        CalibrationBin(int(row["rows"]), 100 * float(row["confidence"]), 100 * float(row["accuracy"])) for row in table.to_dict("records")
    ]


def _predictions(results: TaskResults) -> Predictions | None:
    if not results.task.special.target_is_label:
        return None
    table = results.predictions[_SYSTEM]
    probabilities = np.array(table["probabilities"].tolist(), dtype=float)
    labels = results.labels
    has_probabilities = bool(labels) and probabilities.ndim == 2 and probabilities.shape[1] == len(labels)
    return Predictions(
        table["source"].tolist(),
        table["hypothesis"].tolist(),
        [(reference,) for reference in table["reference"]],
        probabilities if has_probabilities else None,
        labels,
    )
