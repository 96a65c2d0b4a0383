"""Filters that judge one repaired pair: each returns a score and a limit, and a pair above the limit is rejected.

clean/rows.py applies them, and clean/counts.py counts. Filters that need a language model are in clean/language.py. Filters
that are learned from the corpus are in clean/evidence.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from importlib import resources
from typing import NamedTuple

from textmill.clean.repairs import Pair
from textmill.clean.settings import FilterSettings
from textmill.tasks.languages import LanguageSettings
from textmill.text.placeholders import placeholders
from textmill.text.scripts import CJK_CHARACTER, HAN, LETTER, LETTER_OR_DIGIT, letters_of, script_of, weighted_length

Score = Callable[[Pair], float]


class Rule(NamedTuple):
    """A pair whose `score` is above `limit` is rejected."""

    score: Score
    limit: float


_NOT_WORDS = re.compile(r"[\W_]+")
_REPEATED = re.compile(r"(.{1,20}?)(?:[\W_]{0,2}\1){5,}", re.DOTALL)
_GLUED = re.compile(f"[a-z\u00df-\u00ff][{HAN}]|[{HAN}][a-z\u00df-\u00ff]")
_ADDRESS = re.compile(r"(?:https?://|ftp://|www\.)\S+")
_SEPARATOR = re.compile("[>›»|•·/]|www")
_SEPARATED = re.compile(r"[^>›»|•·/]{1,30}(?:\s[>›»|•·]\s[^>›»|•·/]{1,30}){2,}|[^>›»]{1,30}(?:\s[>›»]\s[^>›»]{1,30}){1,}")


def empty(settings: FilterSettings, languages: LanguageSettings) -> Rule:
    """Reject a pair with an empty side."""
    return Rule(lambda pair: not pair.source or not pair.target, 0)


def too_long(settings: FilterSettings, languages: LanguageSettings) -> Rule | None:
    """Reject a pair with more than max_characters on a side."""
    if not settings.max_characters:
        return None
    return Rule(lambda pair: max(len(pair.source), len(pair.target)), settings.max_characters)


def damaged(settings: FilterSettings, languages: LanguageSettings) -> Rule | None:
    """Reject a text with lost characters (U+FFFD), or UTF-8 that was read as GBK: neither can be repaired."""
    if not settings.damaged:
        return None
    first, second = (_GLUED if script_of(code) not in ("han", "japanese", "korean", None) else None for code in languages.codes())

    def score(pair: Pair) -> float:
        source, target = pair
        return (not source.isascii() and _is_damaged(source, first)) or (not target.isascii() and _is_damaged(target, second))

    return Rule(score, 0)


def _is_damaged(text: str, glued: re.Pattern[str] | None) -> bool:
    if "\ufffd" in text or (glued is not None and glued.search(text) is not None):
        return True
    return _utf8_as_gbk().search(text) is not None and _is_utf8_as_gbk(text)


@cache
def _utf8_as_gbk() -> re.Pattern[str]:
    """Match a character whose GBK bytes could start a Chinese character in UTF-8. These are common in mojibake and rare otherwise."""
    found = [bytes([first, second]).decode("gbk", "ignore") for first in range(0xE4, 0xEA) for second in range(0x80, 0xC0)]
    return re.compile(f"[{''.join(found)}]")


def _is_utf8_as_gbk(text: str) -> bool:
    """Return whether the GBK bytes of a text are Chinese text in UTF-8. By chance, this is very unlikely."""
    decoded = text.encode("gb18030", "ignore").decode("utf-8", "replace")
    return len(CJK_CHARACTER.findall(decoded)) >= 2 and decoded.count("\ufffd") * 4 <= len(decoded)


def punctuation_only(settings: FilterSettings, languages: LanguageSettings) -> Rule | None:
    """Reject a pair if one side has no letter and no digit."""
    if not settings.punctuation_only:
        return None
    return Rule(lambda pair: LETTER_OR_DIGIT.search(pair.source) is None or LETTER_OR_DIGIT.search(pair.target) is None, 0)


def copy(settings: FilterSettings, languages: LanguageSettings) -> Rule | None:
    """Reject a pair whose target equals its source except for case, spaces and punctuation."""
    if not settings.copy:
        return None

    def score(pair: Pair) -> float:
        first, second = LETTER_OR_DIGIT.search(pair.source), LETTER_OR_DIGIT.search(pair.target)
        if first is None or second is None or first[0].casefold() != second[0].casefold():
            return pair.source == pair.target
        return _words(pair.source) == _words(pair.target)

    return Rule(score, 0)


def _words(text: str) -> str:
    return _NOT_WORDS.sub("", text.casefold()) or text


def swapped(settings: FilterSettings, languages: LanguageSettings) -> Rule | None:
    """Reject a pair whose sides are in each other's script. clean/language.py does this for languages with the same script."""
    scripts = [script_of(code) for code in languages.codes()]
    if not settings.scripts or None in scripts or scripts[0] == scripts[1]:
        return None
    first, second = (letters_of(script) for script in scripts if script)

    def score(pair: Pair) -> float:
        return first.search(pair.source) is None and second.search(pair.source) is not None and first.search(pair.target) is not None

    return Rule(score, 0)


def wrong_script(settings: FilterSettings, languages: LanguageSettings) -> Rule | None:
    """Reject a pair if one side has letters, but none in the script of its language."""
    scripts = [script_of(code) for code in languages.codes()]
    if not settings.scripts or scripts == [None, None]:
        return None
    first, second = (letters_of(script) if script else LETTER for script in scripts)

    def score(pair: Pair) -> float:
        source, target = pair
        if first.search(source) is not None and second.search(target) is not None:
            return False
        return any(
            pattern.search(text) is None and LETTER.search(text) is not None for pattern, text in ((first, source), (second, target))
        )

    return Rule(score, 0)


def repetition(settings: FilterSettings, languages: LanguageSettings) -> Rule | None:
    """Reject a side if one unit, repeated six or more times in a row, makes up more than the share `repetition`.

    A unit has at most 20 characters and at least one letter.
    """
    if not settings.repetition:
        return None
    return Rule(lambda pair: max(_repeated_share(pair.source), _repeated_share(pair.target)), settings.repetition)


def _repeated_share(text: str) -> float:
    """Return the largest share of a text that one repeated unit takes.

    The full search is slow, so a quick test comes first. If the unit takes more than half of the text, it covers the middle, and
    the characters there recur within 22 characters.
    """
    middle = len(text) // 2
    probe = text[middle : middle + 5]
    if len(text) < 12 or (text.find(probe, middle + 1, middle + 28) < 0 and text.find(probe, max(middle - 22, 0), middle + 4) < 0):
        return 0.0
    return max((len(match[0]) for match in _REPEATED.finditer(text) if LETTER.search(match[1])), default=0) / len(text)


def boilerplate(settings: FilterSettings, languages: LanguageSettings) -> Rule | None:
    """Reject a pair if a side matches a line of boilerplate.txt, or if both sides are menus, navigation paths or URLs."""
    if not settings.boilerplate:
        return None
    lines = resources.files("textmill.clean").joinpath("boilerplate.txt").read_text(encoding="utf-8").split("\n")
    phrases = re.compile("|".join(f"(?:{line})" for line in lines if line and not line.startswith("#")), re.IGNORECASE)

    def score(pair: Pair) -> float:
        return phrases.match(pair.source) is not None or phrases.match(pair.target) is not None or _navigates(pair)

    return Rule(score, 0)


def _navigates(pair: Pair) -> bool:
    """Return whether each side is a menu, a navigation path or a URL."""
    return _SEPARATOR.search(pair.source) is not None and all(_SEPARATED.fullmatch(text) or _ADDRESS.fullmatch(text) for text in pair)


def length_ratio(settings: FilterSettings, languages: LanguageSettings) -> Rule | None:
    """Reject a pair if one side is more than length_ratio times as long as the other, with wide characters weighted."""
    if not settings.length_ratio:
        return None
    weight, shortest = settings.wide_character_weight, settings.min_ratio_characters

    def score(pair: Pair) -> float:
        first, second = weighted_length(pair.source, weight), weighted_length(pair.target, weight)
        longer, shorter = (first, second) if first > second else (second, first)
        return longer / max(shorter, 1) if longer > shortest else 0.0

    return Rule(score, settings.length_ratio)


def placeholder_mismatch(settings: FilterSettings, languages: LanguageSettings) -> Rule | None:
    """Reject a pair if source and target have different placeholders, because a program could not fill them in."""
    if not settings.placeholder_mismatch:
        return None

    def score(pair: Pair) -> float:
        marked = "%" in pair.source or "{" in pair.source or "%" in pair.target or "{" in pair.target
        return marked and placeholders(pair.source) != placeholders(pair.target)

    return Rule(score, 0)


# In the order in which they are applied. The first filter that rejects a pair gives the reason.
FILTERS: dict[str, Callable[[FilterSettings, LanguageSettings], Rule | None]] = {
    "empty": empty,
    "too_long": too_long,
    "damaged": damaged,
    "punctuation_only": punctuation_only,
    "boilerplate": boilerplate,
    "copy": copy,
    "swapped": swapped,
    "wrong_script": wrong_script,
    "repetition": repetition,
    "length_ratio": length_ratio,
    "placeholder_mismatch": placeholder_mismatch,
}


def chosen_filters(settings: FilterSettings, languages: LanguageSettings) -> list[tuple[str, Rule]]:
    """Return the filters that are switched on, by name."""
    rules = ((name, make(settings, languages)) for name, make in FILTERS.items())
    return [(name, rule) for name, rule in rules if rule is not None]
