"""Metrics of summarization: ROUGE (Lin 2004), computed by the package rouge-score, and the share that is copied."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib import metadata

import numpy as np
from rouge_score.rouge_scorer import RougeScorer

from textmill.evaluate.metrics.interface import Metric, Predictions, additive, ratio, share
from textmill.evaluate.metrics.tokens import characters, has_no_spaces, ngrams, tokenizer_of, words
from textmill.evaluate.sentences import sentences

_COPIED_ORDER = 4


class _Tokenizer:
    """What RougeScorer asks for."""

    def __init__(self, tokenize: Callable[[str], list[str]]) -> None:
        self.tokenize = tokenize


def rouge_1(target_language: str) -> Metric:
    """ROUGE-1: F1 of the words that output and reference share. Tokens as in `rouge_l`."""
    return _rouge("rouge_1", "rouge1", target_language)


def rouge_2(target_language: str) -> Metric:
    """ROUGE-2: F1 of the pairs of words that output and reference share. Tokens as in `rouge_l`."""
    return _rouge("rouge_2", "rouge2", target_language)


def rouge_l(target_language: str) -> Metric:
    """ROUGE-L: F1 of the longest common subsequence. Of several references, the one with the best F1 counts.

    English: the tokens of rouge-score, with Porter's stemmer. rouge-score drops all characters but a-z and 0-9, so other languages have
    their own tokens, without stemming: characters for languages without spaces between words, else words and punctuation marks.
    """
    return _rouge("rouge_l", "rougeL", target_language)


def rouge_lsum(target_language: str) -> Metric:
    """ROUGE-Lsum: ROUGE-L over the sentences of a summary. Lines and sentences (`evaluate/sentences.py`) are split. Tokens as in `rouge_l`."""
    return _rouge("rouge_lsum", "rougeLsum", target_language)


def copied(target_language: str) -> Metric:
    """Share of the 4-grams of the outputs that occur in the source: 100 minus the novel 4-grams of See et al. 2017.

    An output of fewer tokens is one n-gram of that length. Neither more nor less is better; a lower share means more abstractive outputs.
    """
    tokenize = tokenizer_of(target_language)

    def statistics(predictions: Predictions) -> np.ndarray:
        counts = np.zeros((len(predictions.sources), 2))
        for row, (source, hypothesis) in enumerate(zip(predictions.sources, predictions.hypotheses, strict=True)):
            tokens = tokenize(hypothesis)
            order = min(_COPIED_ORDER, len(tokens))
            if order:
                known = set(ngrams(tokenize(source), order))
                found = ngrams(tokens, order)
                counts[row] = sum(each in known for each in found), len(found)
        return counts

    return additive("copied", f"copied|n:{_COPIED_ORDER}|tok:{tokenize.__name__}", statistics, ratio(100), higher_is_better=False)


def _rouge(name: str, kind: str, target_language: str) -> Metric:
    stems = target_language == "en"
    tokenize = characters if has_no_spaces(target_language) else words
    scorer = RougeScorer([kind], use_stemmer=True) if stems else RougeScorer([kind], tokenizer=_Tokenizer(tokenize))
    prepared = _lines if kind == "rougeLsum" else str
    tokens = "tok:rouge-score|stemmer:porter" if stems else f"tok:{tokenize.__name__}|stemmer:no"
    signature = f"{name}|nrefs:1|{tokens}|version:{metadata.version('rouge-score')}"
    return share(name, signature, partial(_rouge_statistics, scorer, kind, prepared))


def _rouge_statistics(scorer: RougeScorer, kind: str, prepared: Callable[[str], str], predictions: Predictions) -> np.ndarray:
    pairs = zip(predictions.hypotheses, predictions.references, strict=True)
    scores = [scorer.score_multi([prepared(text) for text in references], prepared(output))[kind] for output, references in pairs]
    return np.array([[each.fmeasure, 1] for each in scores], dtype=float)


def _lines(text: str) -> str:
    return "\n".join(sentences(text))
