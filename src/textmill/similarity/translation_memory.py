"""Translation memory: answer with the target of the nearest known source, by TF-IDF."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from scipy.sparse import csr_matrix
from sklearn.feature_extraction.text import TfidfVectorizer

_MOST_ROWS, _MOST_SIMILARITIES = 1000, 20_000_000  # per matrix product, to bound memory


def translation_memory(development: pd.DataFrame, test: pd.DataFrame) -> list[str]:
    """Return the target of the nearest development source for each test source.

    Nearest by cosine similarity of TF-IDF vectors over character 2- to 4-grams. Of equally near ones, the first.
    """
    known, asked = _vectors(development["source"], test["source"])
    targets = development["target"].to_numpy(dtype=object)
    nearest = np.zeros(len(test), dtype=np.int64)
    for rows, candidates in rows_by_task(development, test):
        of_task = known[candidates].T
        size = max(1, min(_MOST_ROWS, _MOST_SIMILARITIES // len(candidates)))
        for start in range(0, len(rows), size):
            part = rows[start : start + size]
            nearest[part] = candidates[(asked[part] @ of_task).toarray().argmax(axis=1)]
    return list(targets[nearest])


def _vectors(known: pd.Series[str], asked: pd.Series[str]) -> tuple[csr_matrix, csr_matrix]:
    """Return the vectors of the known and of the other sources, (N, V) float32."""
    if not any(map(str.strip, known)):  # prompts may all be empty, and then there is no n-gram
        return csr_matrix((len(known), 1), dtype=np.float32), csr_matrix((len(asked), 1), dtype=np.float32)
    vectorizer = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), dtype=np.float32)
    return vectorizer.fit_transform(known), vectorizer.transform(asked)


def rows_by_task(development: pd.DataFrame, test: pd.DataFrame) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield, per task, the test rows and the development rows to search: those of the same task, or all if there are none."""
    for task in sorted(set(test["task"])):
        candidates = np.flatnonzero(development["task"] == task)
        yield np.flatnonzero(test["task"] == task), candidates if len(candidates) else np.arange(len(development))
