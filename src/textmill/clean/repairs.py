"""Repairs of pairs, applied before the filters. A repair takes a pair and returns it, changed or unchanged.

Most texts need no repair. The regular expression `NEEDS_NOTHING` recognizes them in less than a microsecond.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Callable
from typing import NamedTuple

import ftfy

from textmill.clean.settings import RepairSettings
from textmill.text.scripts import CJK_CHARACTER, HAN

# Printable ASCII without & and <, plus either CJK characters with their usual punctuation, or Western European letters. The
# second set has no punctuation that could be the second byte of mojibake, and no Â or Ã, after which that byte may be a space.
# Tests show that no repair changes such a text, except `whitespace` if there are two spaces in a row or one at an end.
NEEDS_NOTHING = re.compile(
    "[ -%'-;=-~\u3001-\u301b\u3041-\u3096\u30a1-\u30fe\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3，．：；？！（）“”‘’…—·]*"
    "|[ -%'-;=-~\u00c0\u00c1\u00c4-\u00d6\u00d8-\u00f6\u00f8-\u00ff]*"
)

# By default, ftfy turns full-width punctuation into ASCII and curly quotes into straight ones, which changes a fifth of clean rows.
_FTFY = ftfy.TextFixerConfig(
    unescape_html=False, uncurl_quotes=False, fix_character_width=False, fix_latin_ligatures=False, normalization=None
)
# Anything else in angle brackets (<name>, <a@b.c>, <=) is content.
_TAGS = (
    "a abbr article aside b big blockquote body br button caption center cite code col colgroup dd del details div dl dt em embed font footer"
    " form h1 h2 h3 h4 h5 h6 head header hr html i iframe img input ins kbd label li link main mark meta nav ol option p picture pre q"
    " s samp script section select small source span strike strong style sub summary sup svg table tbody td textarea tfoot th thead title tr"
    " tt u ul var video wbr"
).split()
_TAG = re.compile(rf"</?(?:{'|'.join(_TAGS)})(?:\s[^<>]*)?/?>|<!--.*?-->|<!doctype[^<>]*>", re.IGNORECASE | re.DOTALL)
_DROPPED_ELEMENT = re.compile(r"<(script|style)\b[^<>]*>.*?</\1\s*>", re.IGNORECASE | re.DOTALL)
_BLOCK = re.compile(r"</?(?:p|div|br|li|ul|ol|tr|table|h[1-6]|blockquote|section|article)\b", re.IGNORECASE)
_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
_ESCAPED_ANGLE = re.compile(r"&(?:lt|gt|#60|#62|#x3c|#x3e);", re.IGNORECASE)
_JOINERS = {"\u200c", "\u200d"}  # they change how the letters and emoji around them are displayed
_REMOVED_CATEGORIES = {"Cc", "Cf", "Cn", "Co"}
_JOINED = re.compile("(?<=[^\\W\\d_])[\u200c\u200d](?=[^\\W\\d_])|[\u200d](?=[\u2190-\u2bff\U0001f000-\U0001faff])")
_CANDIDATE_INVISIBLE = re.compile(r"[^\S \n\t]|[^\w\s!-~]")
_WIDE_LETTERS = re.compile("[\uff10-\uff19\uff21-\uff3a\uff41-\uff5a]")
_WIDE_FORMS = re.compile("[\uff01-\uff5e\u3000]")
_TO_ASCII = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)} | {0x3000: 0x20}
_LETTERS_TO_ASCII = {code: ascii_code for code, ascii_code in _TO_ASCII.items() if _WIDE_LETTERS.match(chr(code))}
_HALF_PUNCTUATION = re.compile(f"(?<=[{HAN}])[,;:?!]")
_TO_WIDE = {code: code + 0xFEE0 for code in map(ord, ",;:?!")}


class Pair(NamedTuple):
    """A source and its target."""

    source: str
    target: str


Repair = Callable[[Pair], Pair]


def _on_each_side(mend: Callable[[str], str]) -> Repair:
    return lambda pair: Pair(mend(pair.source), mend(pair.target))


def _mojibake(text: str) -> str:
    """Repair UTF-8 that was read in another encoding, line ends of other systems, and terminal escapes (ftfy)."""
    return text if text.isascii() and text.isprintable() else ftfy.fix_text(text, _FTFY)


def markup(pair: Pair) -> Pair:
    """Remove known HTML tags; block tags become a space. If both sides have the same tags, they are content and are kept."""
    if "<" not in pair.source and "<" not in pair.target:
        return pair
    if _tags(pair.source) == _tags(pair.target):
        return pair
    return Pair(_without_tags(pair.source), _without_tags(pair.target))


def _tags(text: str) -> list[str]:
    return sorted(tag.split()[0].lower().rstrip(">/") for tag in _TAG.findall(text))


def _without_tags(text: str) -> str:
    text = _DROPPED_ELEMENT.sub(" ", text)
    return _TAG.sub(lambda tag: " " if _BLOCK.match(tag[0]) else "", text)


def entities(pair: Pair) -> Pair:
    """Replace HTML entities by their characters. If both sides have equally many escaped angle brackets, those stay escaped."""
    if "&" not in pair.source and "&" not in pair.target:
        return pair
    angles = [len(_ESCAPED_ANGLE.findall(text)) for text in pair]
    keep_angles = angles[0] == angles[1] > 0
    return Pair(*(_ENTITY.sub(lambda entity: _character(entity[0], keep_angles), text) for text in pair))


def _character(entity: str, keep_angles: bool) -> str:
    return entity if keep_angles and _ESCAPED_ANGLE.fullmatch(entity) else html.unescape(entity)


def _invisible(text: str) -> str:
    """Remove control, format, private-use and unassigned characters. Line ends, tabs, and joiners inside words and emoji are kept."""
    if not _CANDIDATE_INVISIBLE.search(text):
        return text
    joined = {match.start() for match in _JOINED.finditer(text)} if not _JOINERS.isdisjoint(text) else set()
    return "".join(
        character
        for place, character in enumerate(text)
        if character in "\n\t" or place in joined or unicodedata.category(character) not in _REMOVED_CATEGORIES
    )


def _full_width(text: str) -> str:
    """Replace full-width letters and digits by ASCII; in texts without Chinese or Japanese, also punctuation and wide spaces."""
    if text.isascii() or not _WIDE_FORMS.search(text):
        return text
    return text.translate(_LETTERS_TO_ASCII if CJK_CHARACTER.search(text) else _TO_ASCII)


def _chinese_punctuation(text: str) -> str:
    """Make , ; : ? ! full-width after a Han character."""
    return text if text.isascii() else _HALF_PUNCTUATION.sub(lambda mark: mark[0].translate(_TO_WIDE), text)


def _composition(text: str) -> str:
    """Apply Unicode normalization form C, so that a letter with accents has only one encoding."""
    return unicodedata.normalize("NFC", text)


def _whitespace(text: str) -> str:
    """Collapse spaces, tabs and wide spaces into one space, strip lines, and keep at most one empty line in a row."""
    text = re.sub(r"[^\S\n]+", " ", text)
    if "\n" in text:
        text = re.sub(r" ?\n ?", "\n", text)
        text = re.sub(r"\n{3,}", "\n\n", text)
    return text.strip()


# In the order in which they are applied. The names are the settings in clean.repairs.
REPAIRS: dict[str, Repair] = {
    "markup": markup,
    "entities": entities,
    "mojibake": _on_each_side(_mojibake),
    "invisible": _on_each_side(_invisible),
    "full_width": _on_each_side(_full_width),
    "chinese_punctuation": _on_each_side(_chinese_punctuation),
    "composition": _on_each_side(_composition),
    "whitespace": _on_each_side(_whitespace),
}
REPAIR_NAMES = tuple(REPAIRS)


def chosen_repairs(settings: RepairSettings) -> list[tuple[int, Repair]]:
    """Return the repairs that are switched on, each with its index in REPAIRS."""
    return [(place, repair) for place, (name, repair) in enumerate(REPAIRS.items()) if getattr(settings, name)]


def repaired(pair: Pair, repairs: list[tuple[int, Repair]], quick: bool) -> tuple[Pair, int]:
    """Return the repaired pair, and the repairs that changed it as a sum of 2 ** index in REPAIRS.

    quick: skip pairs that match NEEDS_NOTHING. Must be false if chinese_punctuation is on.
    """
    if quick and _needs_nothing(pair.source) and _needs_nothing(pair.target):
        return pair, 0
    changed = 0
    for place, repair in repairs:
        mended = repair(pair)
        if mended != pair:
            changed |= 1 << place
            pair = mended
    return pair, changed


def _needs_nothing(text: str) -> bool:
    if NEEDS_NOTHING.fullmatch(text) is None or "  " in text or text[:1] == " " or text[-1:] == " ":
        return False
    return text.isascii() or CJK_CHARACTER.search(text) is not None or _WIDE_FORMS.search(text) is None
