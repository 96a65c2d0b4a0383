"""What of a text counts when two are asked whether they say the same."""

from __future__ import annotations

import unicodedata


class _Letters(dict[int, str]):
    """For str.translate: letters and the marks on them stay, anything else becomes a space; filled as characters come up."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        self[code] = character if unicodedata.category(character)[0] in "LM" else " "
        return self[code]


_LETTERS = _Letters()


def letters_only(text: str) -> str:
    """A text without what does not make it another: case, digits, punctuation. The text itself if nothing is left."""
    return " ".join(text.casefold().translate(_LETTERS).split()) or text
