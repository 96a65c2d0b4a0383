"""Metrics of translation: chrF, BLEU, chrF++, TER, exact matches, and placeholders."""

from __future__ import annotations

from itertools import zip_longest

import numpy as np
from sacrebleu.metrics import BLEU, CHRF, TER

from textmill.evaluate.metrics.interface import Metric, Predictions, additive, share
from textmill.text.placeholders import placeholders

_BLEU_TOKENIZERS = dict.fromkeys(("zh", "yue", "wuu"), "zh") | dict.fromkeys(("ja", "th", "lo", "km", "my"), "char")


def bleu(target_language: str) -> Metric:
    """BLEU (Papineni et al. 2002), computed by sacreBLEU (Post 2018).

    Tokenizer: zh for Chinese, char for other languages without spaces between words, 13a for all others.
    """
    return _sacrebleu_metric("bleu", BLEU(tokenize=_BLEU_TOKENIZERS.get(target_language, "13a")))


def chrf(target_language: str) -> Metric:
    """chrF2 (Popović 2015), computed by sacreBLEU."""
    return _sacrebleu_metric("chrf", CHRF())


def chrf_plus(target_language: str) -> Metric:
    """chrF2++ (Popović 2017), computed by sacreBLEU: chrF with words and pairs of words."""
    return _sacrebleu_metric("chrf_plus", CHRF(word_order=2))


def ter(target_language: str) -> Metric:
    """Translation edit rate (Snover et al. 2006), computed by sacreBLEU: edits and shifts per 100 words of the reference; it may exceed 100.

    Chinese and Japanese texts are split into characters (asian_support).
    """
    is_asian = target_language in _BLEU_TOKENIZERS
    return _sacrebleu_metric("ter", TER(normalized=is_asian, asian_support=is_asian))


def exact_match(target_language: str) -> Metric:
    """Share of outputs that equal a reference exactly."""

    def statistics(predictions: Predictions) -> np.ndarray:
        pairs = zip(predictions.hypotheses, predictions.references, strict=True)
        return np.array([[hypothesis in references, 1] for hypothesis, references in pairs], dtype=float)

    return share("exact_match", "exact_match|equal strings", statistics)


def placeholders_kept(target_language: str) -> Metric:
    """Share of outputs with exactly the placeholders of the source (%s, {name}), among sources with placeholders."""

    def statistics(predictions: Predictions) -> np.ndarray:
        pairs = zip(predictions.sources, predictions.hypotheses, strict=True)
        found = [(placeholders(source), placeholders(hypothesis)) for source, hypothesis in pairs]
        return np.array([[bool(wanted) and wanted == kept, bool(wanted)] for wanted, kept in found], dtype=float)

    return share("placeholders_kept", "placeholders_kept|equal multisets", statistics)


def _sacrebleu_metric(name: str, metric: BLEU | CHRF | TER) -> Metric:
    # sacreBLEU 2.6 has no public function for segment statistics; its own significance module uses these two methods.
    is_ter = isinstance(metric, TER)

    def statistics(predictions: Predictions) -> np.ndarray:
        streams = [list(stream) for stream in zip_longest(*predictions.references)]  # rows with fewer references are filled with None
        return np.array(metric._extract_corpus_statistics(list(predictions.hypotheses), streams), dtype=float)

    def score(sums: np.ndarray) -> float:
        # Counts are whole numbers; the reference length of TER is a mean over the references.
        values = sums.tolist() if is_ter else [round(value) for value in sums.tolist()]
        return float(metric._compute_score_from_stats(values).score)

    metric._extract_corpus_statistics(["a"], [["a"]])  # only then does the signature contain the number of references
    return additive(name, str(metric.get_signature()), statistics, score, higher_is_better=not is_ter)
