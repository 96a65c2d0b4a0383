"""Measure by how much a naive split would inflate scores, with a translation memory that may see near-copies of the test set."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from sacrebleu.metrics import CHRF

from textmill.similarity.translation_memory import translation_memory
from textmill.split.splitting import SplitCorpus

_MAX_DEVELOPMENT = 30_000  # the translation memory compares every test pair with every development pair
_MAX_TEST = 1_000


def measure_leak(split: SplitCorpus, seed: int) -> dict[str, Any]:
    """Return the score of a translation memory on the test set and on a naive test set, 0 to 100.

    The naive test set is a random sample of all pairs, of the same size. If the test set is official, it is the same test set, but
    the removed training pairs stay in.
    The metric is accuracy for labels, else chrF. At most 30,000 development pairs and 1,000 test pairs are used, drawn at random.
    Returns {"metric", "test_examples", "protected", "naive", "invented"}; "invented" is the difference.
    """
    together = pd.concat([split.development, split.removed, split.test], ignore_index=True)
    if split.metrics["official_test"]:
        naive = (pd.concat([split.development, split.removed], ignore_index=True), split.test)
    else:
        order = np.random.default_rng(seed).permutation(len(together))
        naive = (together.iloc[order[len(split.test) :]], together.iloc[order[: len(split.test)]])
    is_label = set(together["task"]) <= set(split.metrics["label_tasks"])
    protected_score = _score(split.development, split.test, is_label, seed)
    naive_score = _score(*naive, is_label, seed)
    return {
        "metric": "accuracy" if is_label else "chrf",
        "test_examples": min(len(split.test), _MAX_TEST),
        "protected": protected_score,
        "naive": naive_score,
        "invented": naive_score - protected_score,
    }


def _score(development: pd.DataFrame, test: pd.DataFrame, is_label: bool, seed: int) -> float:
    known, asked = _sample(development, _MAX_DEVELOPMENT, seed), _sample(test, _MAX_TEST, seed)
    outputs, references = translation_memory(known, asked), asked["target"].tolist()
    if is_label:
        return float(100 * sum(output == reference for output, reference in zip(outputs, references, strict=True)) / len(references))
    return float(CHRF().corpus_score(outputs, [references]).score)


def _sample(pairs: pd.DataFrame, most: int, seed: int) -> pd.DataFrame:
    return pairs if len(pairs) <= most else pairs.iloc[np.sort(np.random.default_rng(seed).permutation(len(pairs))[:most])]
