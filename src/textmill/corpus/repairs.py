"""What is mended before anything is rejected: text in, text out, unchanged if there is nothing to mend."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable

import ftfy

# ftfy's defaults fold Chinese full-width punctuation into ASCII and uncurl quotes: they change a fifth of clean rows.
_FTFY = ftfy.TextFixerConfig(
    unescape_html=False, uncurl_quotes=False, fix_character_width=False, fix_latin_ligatures=False, normalization=None
)
_JOINERS = {"\u200c", "\u200d"}  # they change how the letters and emoji around them look
_REMOVED_CATEGORIES = {"Cc", "Cf", "Cn", "Co"}


def mojibake(text: str) -> str:
    """UTF-8 that was read as another encoding, and line ends of other systems (ftfy)."""
    return ftfy.fix_text(text, _FTFY)


def invisible(text: str) -> str:
    """Control, format, private and unassigned characters out; line ends and tabs stay, and so do joiners."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(c for c in text if c in "\n\t" or c in _JOINERS or unicodedata.category(c) not in _REMOVED_CATEGORIES)


def composition(text: str) -> str:
    """Unicode normalization form C: one way to write a letter with its accents."""
    return unicodedata.normalize("NFC", text)


def whitespace(text: str) -> str:
    """Runs of spaces, tabs and wide spaces to one space; none at the ends of lines; at most one empty line."""
    text = re.sub(r"[^\S\n]+", " ", text)
    text = re.sub(r" ?\n ?", "\n", text)
    return re.sub(r"\n{3,}", "\n\n", text).strip()


# In the order in which they are applied.
REPAIRS: dict[str, Callable[[str], str]] = {
    "mojibake": mojibake,
    "invisible": invisible,
    "composition": composition,
    "whitespace": whitespace,
}
