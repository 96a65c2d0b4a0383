"""Tokens and n-grams for metrics that count words. Languages without spaces between words are cut into characters."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

from textmill.text.scripts import weighted_length

_WITHOUT_SPACES = {"zh", "yue", "wuu", "ja", "th", "lo", "km", "my", "bo"}
_WORDS = re.compile(r"\w+|[^\w\s]")
_CHARACTERS = re.compile(r"[A-Za-z0-9]+|[^\sA-Za-z0-9]")


def words(text: str) -> list[str]:
    """Return runs of letters and digits, and single punctuation marks, in lower case."""
    return _WORDS.findall(text.lower())


def characters(text: str) -> list[str]:
    """Return the characters of a text without whitespace, in lower case. A run of ASCII letters and digits is one token."""
    return _CHARACTERS.findall(text.lower())


def has_no_spaces(language: str) -> bool:
    """Return whether the language is written without spaces between words."""
    return language in _WITHOUT_SPACES


def tokenizer_of(language: str) -> Callable[[str], list[str]]:
    """Return `characters` for a language without spaces between words, `words` for all others."""
    return characters if has_no_spaces(language) else words


def ngrams(tokens: Sequence[str], order: int) -> list[tuple[str, ...]]:
    """Return the n-grams of a list of tokens, from left to right."""
    return [tuple(tokens[start : start + order]) for start in range(len(tokens) - order + 1)]


def is_wide(texts: Iterable[str]) -> bool:
    """Return whether more than a third of all characters are Chinese, Japanese or Korean. For baselines, which are told no language."""
    joined = "".join(texts)
    return 3 * (weighted_length(joined, 2) - len(joined)) > len(joined)
