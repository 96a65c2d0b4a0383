"""Check what a caller passes, and name it in messages."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from textmill.base.errors import UserError

_SHOWN = 40  # characters of a value in a message
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


def require_texts(texts: Any, name: str) -> list[str]:
    """Return `texts` as a list. Raise UserError unless it is an iterable of strings. name: of the argument, for the message."""
    if isinstance(texts, str):
        raise UserError(f"{name} is a single string. Pass a list of strings, such as [{shown(texts)}].")
    if isinstance(texts, bytes | Mapping) or hasattr(texts, "columns") or not isinstance(texts, Iterable):
        raise UserError(f"{name} is {_kind(texts)}. Pass a list of strings.")
    listed = list(texts)
    for position, text in enumerate(listed):
        if not isinstance(text, str):
            raise UserError(f"{name}[{position}] is {_kind(text)}, not a string. Pass a list of strings.")
        if not text.isascii() and _LONE_SURROGATE.search(text):
            raise UserError(f"{name}[{position}] contains a lone surrogate (half of a character in UTF-16). Remove it.")
    return listed


def shown(value: object) -> str:
    """A value for a message: one line, at most 40 characters."""
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."


def _kind(value: object) -> str:
    return "None (null)" if value is None else f"of type {type(value).__name__}"
