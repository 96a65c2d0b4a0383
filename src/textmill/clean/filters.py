"""What is rejected for what one pair says: a filter scores a repaired pair and names the limit that the score may not exceed.

The runner in clean/rows.py compares and counts. Filters that need a language model are in clean/language.py, those that
have to know the corpus in clean/evidence.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from importlib import resources
from typing import NamedTuple

from textmill.clean.repairs import Pair
from textmill.clean.settings import FilterSettings
from textmill.settings.languages import LanguageSettings
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
    """A side has nothing on it."""
    return Rule(lambda pair: not pair.source or not pair.target, 0)


def too_long(settings: FilterSettings, languages: LanguageSettings) -> Rule | None:
    """A side has more than max_characters."""
    if not settings.max_characters:
        return None
    return Rule(lambda pair: max(len(pair.source), len(pair.target)), settings.max_characters)


def damaged(settings: FilterSettings, languages: LanguageSettings) -> Rule | None:
    """Characters are lost (U+FFFD), or the text is UTF-8 that was read as GBK: no repair gives back what it was."""
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
    """A character whose GBK bytes could begin a Chinese one in UTF-8. Mojibake is full of them, and they are rare otherwise."""
    found = [bytes([first, second]).decode("gbk", "ignore") for first in range(0xE4, 0xEA) for second in range(0x80, 0xC0)]
    return re.compile(f"[{''.join(found)}]")


def _is_utf8_as_gbk(text: str) -> bool:
    """Whether the GBK bytes of a text are UTF-8 of Chinese text: by chance that happens to no text of some length."""
    decoded = text.encode("gb18030", "ignore").decode("utf-8", "replace")
    return len(CJK_CHARACTER.findall(decoded)) >= 2 and decoded.count("\ufffd") * 4 <= len(decoded)


def punctuation_only(settings: FilterSettings, languages: LanguageSettings) -> Rule | None:
    """A side has no letter and no digit."""
    if not settings.punctuation_only:
        return None
    return Rule(lambda pair: LETTER_OR_DIGIT.search(pair.source) is None or LETTER_OR_DIGIT.search(pair.target) is None, 0)


def copy(settings: FilterSettings, languages: LanguageSettings) -> Rule | None:
    """The target is the source, but for case, spaces and punctuation."""
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
    """Each side is written in the other's script. Languages of one script: clean/language.py."""
    scripts = [script_of(code) for code in languages.codes()]
    if not settings.scripts or None in scripts or scripts[0] == scripts[1]:
        return None
    first, second = (letters_of(script) for script in scripts if script)

    def score(pair: Pair) -> float:
        return first.search(pair.source) is None and second.search(pair.source) is not None and first.search(pair.target) is not None

    return Rule(score, 0)


def wrong_script(settings: FilterSettings, languages: LanguageSettings) -> Rule | None:
    """A side has letters, but none of its language's script."""
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
    """One unit of at most 20 characters with a letter in it, six times and more in a row, makes up more than repetition of a side."""
    if not settings.repetition:
        return None
    return Rule(lambda pair: max(_repeated_share(pair.source), _repeated_share(pair.target)), settings.repetition)


def _repeated_share(text: str) -> float:
    """The largest share that one repeated unit takes.

    Looking for it is slow. But if it takes more than half of the text, the middle lies in it, and recurs at most 22 characters away.
    """
    middle = len(text) // 2
    probe = text[middle : middle + 5]
    if len(text) < 12 or (text.find(probe, middle + 1, middle + 28) < 0 and text.find(probe, max(middle - 22, 0), middle + 4) < 0):
        return 0.0
    return max((len(match[0]) for match in _REPEATED.finditer(text) if LETTER.search(match[1])), default=0) / len(text)


def boilerplate(settings: FilterSettings, languages: LanguageSettings) -> Rule | None:
    """A side is nothing but an address, a path of navigation, or a line that pages repeat (boilerplate.txt)."""
    if not settings.boilerplate:
        return None
    lines = resources.files("textmill.clean").joinpath("boilerplate.txt").read_text(encoding="utf-8").split("\n")
    phrases = re.compile("|".join(f"(?:{line})" for line in lines if line and not line.startswith("#")), re.IGNORECASE)

    def score(pair: Pair) -> float:
        return phrases.match(pair.source) is not None or phrases.match(pair.target) is not None or _navigates(pair)

    return Rule(score, 0)


def _navigates(pair: Pair) -> bool:
    """Both sides are menus or paths, or both are addresses."""
    return _SEPARATOR.search(pair.source) is not None and all(_SEPARATED.fullmatch(text) or _ADDRESS.fullmatch(text) for text in pair)


def length_ratio(settings: FilterSettings, languages: LanguageSettings) -> Rule | None:
    """One side is more than length_ratio times as long as the other, wide characters weighted."""
    if not settings.length_ratio:
        return None
    weight, shortest = settings.wide_character_weight, settings.min_ratio_characters

    def score(pair: Pair) -> float:
        first, second = weighted_length(pair.source, weight), weighted_length(pair.target, weight)
        longer, shorter = (first, second) if first > second else (second, first)
        return longer / max(shorter, 1) if longer > shortest else 0.0

    return Rule(score, settings.length_ratio)


def placeholder_mismatch(settings: FilterSettings, languages: LanguageSettings) -> Rule | None:
    """The target lacks a placeholder of the source, or has one more: a program would print it wrong."""
    if not settings.placeholder_mismatch:
        return None

    def score(pair: Pair) -> float:
        marked = "%" in pair.source or "{" in pair.source or "%" in pair.target or "{" in pair.target
        return marked and placeholders(pair.source) != placeholders(pair.target)

    return Rule(score, 0)


# In the order in which they are asked; the first that says no gives the reason.
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
    """The filters that are switched on, by name."""
    rules = ((name, make(settings, languages)) for name, make in FILTERS.items())
    return [(name, rule) for name, rule in rules if rule is not None]
