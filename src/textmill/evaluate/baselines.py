"""Baselines: systems without a neural network.

Each baseline writes outputs for a test set (columns source, task) from the development set (columns source, target, task).
A baseline uses only the development pairs with the task of the test row, or all of them if there are none with that task.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import pandas as pd

from textmill.evaluate.extractive_baselines import best_sentence, extractive, lead_1, lead_3
from textmill.evaluate.linear_baseline import linear_predictions
from textmill.similarity.translation_memory import rows_by_task, translation_memory


def copy(development: pd.DataFrame, test: pd.DataFrame) -> list[str]:
    """Return the sources themselves."""
    return list(test["source"])


def majority(development: pd.DataFrame, test: pd.DataFrame) -> list[str]:
    """Return the most frequent development target for every row. Of equally frequent targets, take the first."""
    outputs = np.empty(len(test), dtype=object)
    for rows, candidates in rows_by_task(development, test):
        [(target, _)] = Counter(development["target"].iloc[candidates]).most_common(1)
        outputs[rows] = target
    return list(outputs)


def linear(development: pd.DataFrame, test: pd.DataFrame) -> list[str]:
    """Return the label that a linear support vector machine predicts (`linear_predictions`, which also has probabilities)."""
    return linear_predictions(development, test).outputs


BASELINES: dict[str, Callable[[pd.DataFrame, pd.DataFrame], list[str]]] = {
    "copy": copy,
    "translation_memory": translation_memory,
    "majority": majority,
    "lead_1": lead_1,
    "lead_3": lead_3,
    "extractive": extractive,
    "best_sentence": best_sentence,
    "linear": linear,
}
DEFAULT_BASELINES = ("copy", "translation_memory", "majority")  # of a translation job
