"""Settings that differ from those of the default recipe."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_NOT_SET = object()
_MAX_CHARACTERS = 60


@dataclass(frozen=True)
class Change:
    """default, value: as text, or empty where one of the files does not have the key."""

    key: str
    default: str
    value: str


def changed_settings(params: Mapping[str, Any], default: Mapping[str, Any]) -> list[Change]:
    """In the order of `default`, then what only `params` has. report.language changes no result and is left out."""
    return [each for each in _changes(params, default, "") if each.key != "report.language"]


def _changes(params: Mapping[str, Any], default: Mapping[str, Any], prefix: str) -> Iterator[Change]:
    for name in dict.fromkeys([*default, *params]):
        value, usual = params.get(name, _NOT_SET), default.get(name, _NOT_SET)
        if isinstance(value, Mapping) and isinstance(usual, Mapping):
            yield from _changes(value, usual, f"{prefix}{name}.")
        elif value != usual:
            yield Change(f"{prefix}{name}", _shown(usual), _shown(value))


def _shown(value: Any) -> str:
    if value is _NOT_SET:
        return ""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _MAX_CHARACTERS else f"{text[: _MAX_CHARACTERS - 1]}…"
