"""Sentences of a text in Chinese or in a language with Latin punctuation."""

from __future__ import annotations

import re

_CLOSING = "\"'”’»)\\]）」』】》"
_END = re.compile(
    rf"\n+|(?<=[。！？…][{_CLOSING}])|(?<=[。！？…])(?![。！？…{_CLOSING}])|(?<=[.!?])\s+(?=[^\sa-z])|(?<=[.!?][{_CLOSING}])\s+(?=[^\sa-z])"
)
_ABBREVIATION = re.compile(r"(?:\b(?:Mr|Mrs|Ms|Dr|Prof|St|Jr|Sr|vs|etc|No|Fig|e\.g|i\.e)|\b[A-Z])\.$")


def sentences(text: str) -> list[str]:
    """Split a text at line ends, and after 。！？… and .!? with the closing marks that follow.

    A Latin full stop ends a sentence only before whitespace and if the next word does not begin with a small letter.
    Common English abbreviations and single capital letters do not end a sentence. Empty sentences are left out.
    """
    found: list[str] = []
    for line in text.split("\n"):
        open_sentence = ""
        for part in (each for each in _END.split(line) if each.strip()):
            open_sentence = f"{open_sentence} {part.strip()}".strip() if open_sentence else part.strip()
            if not _ABBREVIATION.search(open_sentence):
                found.append(open_sentence)
                open_sentence = ""
        if open_sentence:
            found.append(open_sentence)
    return found
