"""A linear support vector machine on TF-IDF of words and characters: the baseline of classification (Wang and Manning 2012 show its strength).

Dimensions: N test rows, L labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.model_selection import KFold
from sklearn.pipeline import make_union
from sklearn.svm import LinearSVC

from textmill.evaluate.calibration import apply_temperature, fit_temperature, softmax
from textmill.evaluate.metrics.tokens import is_wide
from textmill.similarity.translation_memory import rows_by_task

_FOLDS, _SEED = 3, 0
_WORDS = r"[\w'’-]+|[^\w\s]"  # chosen by cross-validation on the training rows of SST-2 and TREC


@dataclass(frozen=True)
class LabelPredictions:
    """outputs: the predicted label of each row (N). labels: the L labels, sorted. probabilities: (N, L), calibrated."""

    outputs: list[str]
    labels: list[str]
    probabilities: np.ndarray


def linear_predictions(development: pd.DataFrame, test: pd.DataFrame) -> LabelPredictions:
    """Train on development pairs (columns source, target, task) and predict the labels of test rows (columns source, task).

    Features: TF-IDF with logarithmic counts, of words and pairs of words, and of 2 to 5 characters within words. Texts that are mostly
    Chinese, Japanese or Korean have 1 to 3 characters instead. Case is ignored.
    Probabilities: the softmax of the decision function (for two labels, of ± half of it), divided by a temperature that is fitted on the
    out-of-fold decisions of three folds. The label is always the most probable one, so the calibration does not change the accuracy.
    A row of a task answers with the labels of its task; the probabilities of all other labels are 0.
    """
    labels = sorted(set(development["target"]))
    probabilities = np.zeros((len(test), len(labels)))
    for rows, candidates in rows_by_task(development, test):
        if len(rows):
            known, asked = development.iloc[candidates], test["source"].iloc[rows]
            own, found = _fitted(known["source"].tolist(), known["target"].tolist(), asked.tolist())
            probabilities[np.ix_(rows, np.array([labels.index(label) for label in own]))] = found
    return LabelPredictions([labels[column] for column in probabilities.argmax(axis=1)], labels, probabilities)


def _fitted(sources: Sequence[str], targets: Sequence[str], asked: Sequence[str]) -> tuple[list[str], np.ndarray]:
    """Return the labels of one task, sorted, and their probabilities (len(asked), L)."""
    labels = sorted(set(targets))
    if len(labels) == 1:
        return labels, np.ones((len(asked), 1))
    probabilities = _probabilities(sources, targets, asked, labels)
    if len(sources) < 2 * _FOLDS:  # too few rows for folds
        return labels, probabilities
    held_out = np.zeros((len(sources), len(labels)))
    for train, rest in KFold(_FOLDS, shuffle=True, random_state=_SEED).split(sources):
        held_out[rest] = _probabilities(
            [sources[row] for row in train], [targets[row] for row in train], [sources[row] for row in rest], labels
        )
    return labels, apply_temperature(probabilities, fit_temperature(held_out, labels, targets))


def _probabilities(sources: Sequence[str], targets: Sequence[str], asked: Sequence[str], labels: list[str]) -> np.ndarray:
    """Return the softmax of the decisions, (len(asked), L). A label that is not among the targets has a probability near 0."""
    vectorizer = _vectorizer(sources)
    known = vectorizer.fit_transform(sources)
    present = sorted(set(targets))
    if len(present) == 1:
        decisions = np.zeros((len(asked), 1))
    else:
        decisions = LinearSVC(random_state=_SEED).fit(known, targets).decision_function(vectorizer.transform(asked))
        decisions = np.stack([-decisions / 2, decisions / 2], axis=1) if decisions.ndim == 1 else decisions
    logits = np.full((len(asked), len(labels)), decisions.min() - 10)
    logits[:, [labels.index(label) for label in present]] = decisions
    return softmax(logits)


def _vectorizer(sources: Sequence[str]) -> Any:
    if is_wide(sources):
        return TfidfVectorizer(analyzer="char", ngram_range=(1, 3), sublinear_tf=True)
    return make_union(
        TfidfVectorizer(token_pattern=_WORDS, ngram_range=(1, 2), sublinear_tf=True),
        TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True),
    )
