"""What a model must beat: systems that learn nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from sklearn.feature_extraction.text import TfidfVectorizer

_BLOCK_ROWS = 1000


def copy(development: pd.DataFrame, sources: Sequence[str]) -> list[str]:
    """The source itself."""
    return list(sources)


def memory(development: pd.DataFrame, sources: Sequence[str]) -> list[str]:
    """Translation memory: the target of the nearest development source, by cosine of TF-IDF over character 2- to 4-grams."""
    vectorizer = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), dtype=np.float32)
    known = vectorizer.fit_transform(development["source"])
    asked = vectorizer.transform(sources)
    targets = development["target"].tolist()
    nearest: list[int] = []
    for start in range(0, len(sources), _BLOCK_ROWS):
        similarities = (asked[start : start + _BLOCK_ROWS] @ known.T).toarray()
        nearest += similarities.argmax(axis=1).tolist()
    return [targets[row] for row in nearest]


def majority(development: pd.DataFrame, sources: Sequence[str]) -> list[str]:
    """The most frequent development target (the first of equally frequent ones), whatever the source."""
    [(target, _)] = Counter(development["target"]).most_common(1)
    return [target] * len(sources)


BASELINES: dict[str, Callable[[pd.DataFrame, Sequence[str]], list[str]]] = {"copy": copy, "memory": memory, "majority": majority}
