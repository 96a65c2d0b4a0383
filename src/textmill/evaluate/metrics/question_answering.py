"""Metrics of extractive question answering, as the scripts of SQuAD v1.1 and CMRC 2018 compute them.

Each output is compared with all references of its row; the best value counts.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable
from difflib import SequenceMatcher

import numpy as np
from nltk.tokenize import NLTKWordTokenizer

from textmill.evaluate.metrics.interface import Metric, Predictions, share

_CHINESE = ("zh", "yue", "wuu")
_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = set(string.punctuation)
# As in the script of CMRC 2018, which compares single characters: its entry for the ellipsis has two, so "…" is not removed.
_CMRC_PUNCTUATION = set("-:_*^/\\~`+=，。：？！“”；’《》·、「」（）－～『』")
_CMRC_HAN = re.compile("[\u4e00-\u9fa5]")


def f1(target_language: str) -> Metric:
    """F1 of the answer.

    Chinese: the script of CMRC 2018 (Cui et al. 2019), from the longest common substring of mixed segments.
    Other languages: the script of SQuAD v1.1 (Rajpurkar et al. 2016), from the words that output and reference share.
    """
    if target_language in _CHINESE:
        return _best_reference("f1", "f1|nrefs:1|script:cmrc2018", _cmrc_f1)
    return _best_reference("f1", "f1|nrefs:1|script:squad1.1", _squad_f1)


def exact(target_language: str) -> Metric:
    """Exact match of the answer after the normalization of CMRC 2018 (Chinese) or SQuAD v1.1 (other languages)."""
    if target_language in _CHINESE:
        return _best_reference("exact", "exact|nrefs:1|script:cmrc2018", _equal_after(without_cmrc_punctuation))
    return _best_reference("exact", "exact|nrefs:1|script:squad1.1", _equal_after(normalized_answer))


def normalized_answer(text: str) -> str:
    """Return the text in lower case, without ASCII punctuation, English articles and extra whitespace (SQuAD's normalize_answer)."""
    bare = "".join(character for character in text.lower() if character not in _PUNCTUATION)
    return " ".join(_ARTICLES.sub(" ", bare).split())


def without_cmrc_punctuation(text: str) -> str:
    """Return the text in lower case without the punctuation that CMRC 2018 ignores. Spaces inside the text are kept."""
    return "".join(character for character in text.lower().strip() if character not in _CMRC_PUNCTUATION)


def mixed_segments(text: str) -> list[str]:
    """Return the Chinese characters of a text, and the words of the runs between them, without punctuation (CMRC 2018).

    Words are those of NLTK's word tokenizer. The script splits runs into sentences first, which needs a model from the network;
    a run between Chinese characters with a full stop in its middle is the only case in which this matters.
    """
    segments: list[str] = []
    run = ""
    for character in text.lower().strip():
        if character in _CMRC_PUNCTUATION:
            continue
        if _CMRC_HAN.match(character):
            segments += [*_words(run), character]
            run = ""
        else:
            run += character
    return segments + _words(run)


def _words(run: str) -> list[str]:
    return list(NLTKWordTokenizer().tokenize(run)) if run else []


def _squad_f1(hypothesis: str, reference: str) -> float:
    found, wanted = normalized_answer(hypothesis).split(), normalized_answer(reference).split()
    return _f1((Counter(found) & Counter(wanted)).total(), len(found), len(wanted))


def _cmrc_f1(hypothesis: str, reference: str) -> float:
    found, wanted = mixed_segments(hypothesis), mixed_segments(reference)
    return _f1(SequenceMatcher(None, wanted, found, autojunk=False).find_longest_match().size, len(found), len(wanted))


def _f1(common: int, found: int, wanted: int) -> float:
    if not common:
        return 0.0
    precision, recall = common / found, common / wanted
    return 2 * precision * recall / (precision + recall)


def _equal_after(normalize: Callable[[str], str]) -> Callable[[str, str], float]:
    return lambda hypothesis, reference: float(normalize(hypothesis) == normalize(reference))


def _best_reference(name: str, signature: str, value: Callable[[str, str], float]) -> Metric:
    def statistics(predictions: Predictions) -> np.ndarray:
        pairs = zip(predictions.hypotheses, predictions.references, strict=True)
        return np.array([[max(value(hypothesis, reference) for reference in references), 1] for hypothesis, references in pairs])

    return share(name, signature, statistics)
