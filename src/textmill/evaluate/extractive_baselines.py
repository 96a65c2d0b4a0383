"""Baselines that answer with sentences of the source: for summarization and question answering."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pandas as pd
from sklearn.feature_extraction.text import TfidfVectorizer

from textmill.evaluate.metrics.tokens import is_wide
from textmill.evaluate.sentences import sentences

_FIELD = re.compile(r"^\w{1,20}[:：]\s*")  # "question: ", "context: "
_QUESTION = re.compile("[?？][\"'”’»）)\\]]*$")


def lead_1(development: pd.DataFrame, test: pd.DataFrame) -> list[str]:
    """Return the first sentence of each source."""
    return [_joined(sentences(source)[:1], source) for source in test["source"]]


def lead_3(development: pd.DataFrame, test: pd.DataFrame) -> list[str]:
    """Return the first three sentences of each source (See et al. 2017)."""
    return [_joined(sentences(source)[:3], source) for source in test["source"]]


def extractive(development: pd.DataFrame, test: pd.DataFrame) -> list[str]:
    """Return the sentence of each source that is nearest to the whole source: cosine of TF-IDF (centroid, Radev et al. 2004).

    Words are counted, or single characters and pairs of them in Chinese, Japanese or Korean. Their weights are those of the development sources.
    """
    nearest = _nearest_sentence(development)
    return [nearest(source, sentences(source)) or source for source in test["source"]]


def best_sentence(development: pd.DataFrame, test: pd.DataFrame) -> list[str]:
    """Return the sentence of the context that is nearest to the question: cosine of TF-IDF, as in `extractive`.

    The question is the first sentence of the source that ends with a question mark, else the first sentence. All other sentences are the context.
    A word with a colon at the beginning, such as "question:" or "context:", is not part of a sentence.
    """
    nearest = _nearest_sentence(development)
    outputs = []
    for source in test["source"]:
        question, context = split_question(source)
        outputs.append(nearest(question, context) or source)
    return outputs


def split_question(source: str) -> tuple[str, list[str]]:
    """Return the question, and the sentences of the context. See `best_sentence`."""
    parts = [_FIELD.sub("", sentence) for sentence in sentences(_before_context(source))]
    if not parts:
        return "", []
    asked = next((place for place, sentence in enumerate(parts) if _QUESTION.search(sentence)), 0)
    return parts[asked], [sentence for place, sentence in enumerate(parts) if place != asked and sentence]


def _before_context(source: str) -> str:
    """Put a second field ("... context: ...") on a line of its own, because a question need not end with a mark."""
    return re.sub(r"\s+(?=context[:：])", "\n", source, count=1)


def _nearest_sentence(development: pd.DataFrame) -> Callable[[str, list[str]], str]:
    """Return the function that picks the sentence nearest to a text, the first of several; "" if there is no sentence."""
    if is_wide(development["source"]):
        vectorizer = TfidfVectorizer(analyzer="char", ngram_range=(1, 2), sublinear_tf=True)
    else:
        vectorizer = TfidfVectorizer(token_pattern=r"\w+", sublinear_tf=True)
    vectorizer.fit(development["source"])

    def nearest(text: str, found: list[str]) -> str:
        if not found:
            return ""
        similarity = (vectorizer.transform(found) @ vectorizer.transform([text]).T).toarray()[:, 0]
        return found[int(np.argmax(similarity))]

    return nearest


def _joined(found: list[str], source: str) -> str:
    """The sentences as they follow each other in the source; the source if there are none."""
    if not found:
        return source
    begin = source.index(found[0])
    end = begin
    for sentence in found:
        place = source.find(sentence, end)
        if place < 0:  # its parts were joined by another kind of whitespace
            return " ".join(found)
        end = place + len(sentence)
    return source[begin:end]
