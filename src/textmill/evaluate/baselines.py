"""What a model must beat: systems that learn nothing.

Each answers the rows of a test set (columns source, task) from the development set (source, target, task). As a model does, it knows
the task of a row; a task that development does not have is looked up in all of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import pandas as pd

from textmill.similarity.translation_memory import rows_by_task, translation_memory


def copy(development: pd.DataFrame, test: pd.DataFrame) -> list[str]:
    """The source itself."""
    return list(test["source"])


def majority(development: pd.DataFrame, test: pd.DataFrame) -> list[str]:
    """The most frequent development target (the first of equally frequent ones), whatever the source."""
    outputs = np.empty(len(test), dtype=object)
    for rows, candidates in rows_by_task(development, test):
        [(target, _)] = Counter(development["target"].iloc[candidates]).most_common(1)
        outputs[rows] = target
    return list(outputs)


BASELINES: dict[str, Callable[[pd.DataFrame, pd.DataFrame], list[str]]] = {
    "copy": copy,
    "translation_memory": translation_memory,
    "majority": majority,
}
