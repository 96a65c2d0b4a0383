"""Metrics of text generation: variety, repetition, overlap with the training data, and the cost of the references."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from textmill.evaluate.metrics.interface import Metric, Predictions, additive, corpus_level, ratio, share
from textmill.evaluate.metrics.overlap import longest_overlaps
from textmill.evaluate.metrics.tokens import ngrams, tokenizer_of

_REPEATED_ORDER = 4
_Size = Callable[[str, int], int]
_Score = Callable[[np.ndarray], float]


def distinct_1(target_language: str) -> Metric:
    """distinct-1 (Li et al. 2016): different words in all outputs, per 100 words."""
    return _distinct("distinct_1", 1, target_language)


def distinct_2(target_language: str) -> Metric:
    """distinct-2 (Li et al. 2016): different pairs of words in all outputs, per 100 pairs.

    Comparable only between systems with about the same amount of output.
    """
    return _distinct("distinct_2", 2, target_language)


def repetition(target_language: str) -> Metric:
    """rep-4 (Welleck et al. 2020): share of the 4-grams of an output that repeat an earlier one, mean over outputs of 4 tokens or more."""
    tokenize = tokenizer_of(target_language)

    def statistics(predictions: Predictions) -> np.ndarray:
        found = [ngrams(tokenize(hypothesis), _REPEATED_ORDER) for hypothesis in predictions.hypotheses]
        return np.array([[1 - len(set(each)) / len(each), 1] if each else [0, 0] for each in found], dtype=float)

    return share("repetition", f"repetition|n:{_REPEATED_ORDER}|tok:{tokenize.__name__}", statistics, higher_is_better=False)


def verbatim(target_language: str) -> Metric:
    """Mean number of characters in the longest part of an output that occurs in a training text. A measure of memorization.

    Does not apply if there are no training texts. Takes a few seconds per million characters of training text.
    """

    def statistics(predictions: Predictions) -> np.ndarray:
        if not predictions.training_texts:
            return np.zeros((len(predictions.sources), 2))
        lengths = longest_overlaps(predictions.hypotheses, predictions.training_texts)
        return np.array([[length, 1] for length in lengths], dtype=float)

    return share("verbatim", "verbatim|longest common substring", statistics, higher_is_better=False, unit="characters")


def bits_per_byte(target_language: str) -> Metric:
    """Bits per UTF-8 byte of the references, the end symbol's cost included. Comparable between models with different tokenizers."""
    return _cost("bits_per_byte", lambda text, tokens: len(text.encode()), ratio(1 / math.log(2)), "bits per byte")


def nats_per_token(target_language: str) -> Metric:
    """Cross entropy of the references in nats per token, END included. Comparable only between models with the same tokenizer."""
    return _cost("nats_per_token", lambda text, tokens: tokens, ratio(), "nats per token")


def _cost(name: str, size: _Size, score: _Score, unit: str) -> Metric:
    return additive(name, f"{name}|first reference with END", lambda each: costs(each, size), score, higher_is_better=False, unit=unit)


def costs(predictions: Predictions, size: _Size) -> np.ndarray:
    """Return, per segment, the negative log probability of the first reference in nats, and its size: (N, 2).

    size: maps the reference and its number of tokens to its size.
    All zero, so that a metric does not apply, if the token log probabilities are unknown; those of a row that the model could not score
    are empty.
    """
    if predictions.token_log_probabilities is None:
        return np.zeros((len(predictions.sources), 2))
    pairs = zip(predictions.first_references, predictions.token_log_probabilities, strict=True)
    return np.array([[-math.fsum(each), size(text, len(each))] if each else [0, 0] for text, each in pairs], dtype=float)


def _distinct(name: str, order: int, target_language: str) -> Metric:
    tokenize = tokenizer_of(target_language)

    def statistics(predictions: Predictions) -> np.ndarray:
        numbers: dict[tuple[str, ...], int] = {}
        rows = np.empty(len(predictions.sources), dtype=object)
        for row, hypothesis in enumerate(predictions.hypotheses):
            found = ngrams(tokenize(hypothesis), order)
            rows[row] = np.array([numbers.setdefault(each, len(numbers)) for each in found], dtype=np.int64)
        return rows

    def score(rows: np.ndarray) -> float:
        found = np.concatenate([*rows, np.empty(0, dtype=np.int64)])
        return float(100 * np.count_nonzero(np.bincount(found)) / len(found)) if len(found) else float("nan")

    return corpus_level(name, f"{name}|tok:{tokenize.__name__}", statistics, score)
