"""What is rejected: a filter looks at one repaired pair and says yes or no; the runner in clean.py counts."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from textmill.corpus.placeholders import placeholders
from textmill.settings.corpus import CleanSettings, LanguageSettings

_WIDE = re.compile("[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff]")
# A text in one of these languages holds at least one such character.
_SCRIPTS = {
    "zh": re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"),
    "en": re.compile("[A-Za-z]"),
}


class Pair(NamedTuple):
    """A repaired source and target."""

    source: str
    target: str


def empty(pair: Pair, clean: CleanSettings, languages: LanguageSettings) -> bool:
    """A side has nothing on it."""
    return not pair.source or not pair.target


def too_long(pair: Pair, clean: CleanSettings, languages: LanguageSettings) -> bool:
    """A side has more than max_characters."""
    return max(len(pair.source), len(pair.target)) > clean.max_characters


def copy(pair: Pair, clean: CleanSettings, languages: LanguageSettings) -> bool:
    """The target is the source."""
    return clean.reject_copies and pair.source == pair.target


def wrong_script(pair: Pair, clean: CleanSettings, languages: LanguageSettings) -> bool:
    """A side has no character of its language's script (asked for languages in a known script)."""
    sides = ((pair.source, languages.source_language), (pair.target, languages.target_language))
    return any(code in _SCRIPTS and not _SCRIPTS[code].search(text) for text, code in sides)


def length_ratio(pair: Pair, clean: CleanSettings, languages: LanguageSettings) -> bool:
    """One side is more than max_length_ratio times as long as the other, wide characters weighted."""
    lengths = sorted(len(text) + (clean.wide_character_weight - 1) * len(_WIDE.findall(text)) for text in pair)
    return lengths[1] > clean.min_ratio_characters and lengths[1] > clean.max_length_ratio * lengths[0]


def placeholder_mismatch(pair: Pair, clean: CleanSettings, languages: LanguageSettings) -> bool:
    """The target lacks a placeholder of the source, or has one more: a program would print it wrong."""
    return clean.match_placeholders and placeholders(pair.source) != placeholders(pair.target)


# In the order in which they are asked; the first that says yes gives the reason. Duplicates come after all of them.
FILTERS: dict[str, Callable[[Pair, CleanSettings, LanguageSettings], bool]] = {
    "empty": empty,
    "too_long": too_long,
    "copy": copy,
    "wrong_script": wrong_script,
    "length_ratio": length_ratio,
    "placeholder_mismatch": placeholder_mismatch,
}
