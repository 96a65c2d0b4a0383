"""Metrics of dialogue. distinct-2 is in `generation.py`, BLEU and chrF are in `translation.py`."""

from __future__ import annotations

import math

import numpy as np

from textmill.evaluate.metrics.generation import costs
from textmill.evaluate.metrics.interface import Metric, Predictions, additive, share


def training_replies(target_language: str) -> Metric:
    """Share of the outputs that equal a training target. Does not apply if there are no training texts."""

    def statistics(predictions: Predictions) -> np.ndarray:
        known = set(predictions.training_texts)
        return np.array([[hypothesis in known, bool(known)] for hypothesis in predictions.hypotheses], dtype=float)

    return share("training_replies", "training_replies|equal strings", statistics, higher_is_better=False)


def character_perplexity(target_language: str) -> Metric:
    """Perplexity of the references per character, the end symbol's cost included. Comparable between models with different tokenizers."""

    def score(sums: np.ndarray) -> float:
        return math.exp(min(sums[0] / sums[1], 700)) if sums[1] else float("nan")

    return additive(
        "character_perplexity",
        "character_perplexity|first reference with END",
        lambda predictions: costs(predictions, lambda text, tokens: len(text)),
        score,
        higher_is_better=False,
        unit="perplexity",
    )
