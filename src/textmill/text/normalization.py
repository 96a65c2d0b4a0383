"""Normalize texts before they are compared."""

from __future__ import annotations

import unicodedata


class _Letters(dict[int, str]):
    """Table for str.translate, filled on demand: keeps letters and combining marks, replaces all other characters by a space."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        self[code] = character if unicodedata.category(character)[0] in "LM" else " "
        return self[code]


_LETTERS = _Letters()


def letters_only(text: str) -> str:
    """Return a text without case, digits and punctuation, or the text itself if nothing would remain."""
    return " ".join(text.casefold().translate(_LETTERS).split()) or text
