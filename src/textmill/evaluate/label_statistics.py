"""Statistics of predicted labels: confusion matrix, and McNemar's test of two classifiers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
from scipy.stats import binomtest

from textmill.evaluate.metrics.interface import Predictions

NO_LABEL = "(no label)"


@dataclass(frozen=True)
class McNemar:
    """only_first, only_second: number of rows that only this system has right. p_value: exact, two-sided."""

    only_first: int
    only_second: int
    p_value: float


def confusion_matrix(predictions: Predictions) -> pd.DataFrame:
    """Count the rows by true label (index) and predicted label (columns).

    Both are in the order of `predictions.labels`, then by name. Outputs that are no label are in the last column, NO_LABEL, if there are any.
    """
    truth = predictions.first_references
    labels = [*predictions.labels, *sorted(set(truth) - set(predictions.labels))]
    outputs = [output if output in set(labels) else NO_LABEL for output in predictions.hypotheses]
    columns = [*labels, *([NO_LABEL] if NO_LABEL in outputs else [])]
    counts = pd.crosstab(pd.Series(truth, name="true"), pd.Series(outputs, name="predicted"))
    return counts.reindex(index=labels, columns=columns, fill_value=0)


def mcnemar(first: Predictions, second: Predictions) -> McNemar:
    """Test whether two classifiers make the same number of errors on the same rows (McNemar 1947), by the exact binomial test."""
    pairs = list(zip(_hits(first), _hits(second), strict=True))
    only_first, only_second = pairs.count((True, False)), pairs.count((False, True))
    discordant = only_first + only_second
    return McNemar(only_first, only_second, float(binomtest(only_first, discordant).pvalue) if discordant else 1.0)


def _hits(predictions: Predictions) -> Sequence[bool]:
    return [output == label for output, label in zip(predictions.hypotheses, predictions.first_references, strict=True)]
