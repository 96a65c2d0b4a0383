"""Read the meaning of each setting from the docstrings of the settings classes, for `textmill settings` and docs/settings.md."""

from __future__ import annotations

import dataclasses
import inspect
import re
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from textmill.settings.schema import OTHER_TRAININGS

MISSING = dataclasses.MISSING


@dataclasses.dataclass(frozen=True)
class Setting:
    """One setting.

    key: the full key, such as `train.max_steps`; `[]` marks the entries of a list.
    default: MISSING if params.yaml must have a value.
    """

    key: str
    type: str
    default: Any
    meaning: str


def manual(sections: Mapping[str, type]) -> Iterator[Setting]:
    """Yield all settings in the order of params.yaml.

    sections: name to settings class.
    """
    for name, section in sections.items():
        yield from _settings(section, name)


def introduction(section: type) -> str:
    """Return what a section is for: its docstring up to the first setting."""
    return _parts(section)[""]


def _settings(section: type, prefix: str) -> Iterator[Setting]:
    annotations, meanings = typing.get_type_hints(section), _parts(section)
    for field in dataclasses.fields(section):
        kind = annotations[field.name]
        key = f"{prefix}.{field.name}"
        inner, suffix = _inner(kind)
        if (*prefix.split("."), field.name) in OTHER_TRAININGS:
            meaning = f"{meanings.get(field.name, '')} A key that is left out is taken from `train`."
            yield Setting(key, "settings of train", "as in train", meaning.strip())
        elif inner is None:
            default = field.default if field.default_factory is MISSING else field.default_factory()
            yield Setting(key, _shown(kind), default, meanings.get(field.name, ""))
        else:
            yield from _settings(inner, key + suffix)


def _inner(kind: Any) -> tuple[type | None, str]:
    """Return the settings class of a nested section or of the entries of a list, and the suffix of the key."""
    if dataclasses.is_dataclass(kind):
        return typing.cast(type, kind), ""
    entries = typing.get_args(kind)
    if typing.get_origin(kind) is list and dataclasses.is_dataclass(entries[0]):
        return typing.cast(type, entries[0]), "[]"
    return None, ""


def _parts(section: type) -> dict[str, str]:
    """Split the docstring at names of fields that are followed by a colon. The text before the first one has the key ""."""
    text = " ".join(inspect.cleandoc(section.__doc__ or "").split())
    names = "|".join(field.name for field in dataclasses.fields(section))
    pieces = re.split(rf"(?:(?<=^)|(?<=[.;] )|(?<=\) ))((?:(?:{names}), )*(?:{names})): ", text)
    parts = {"": pieces[0].strip()}
    for heads, meaning in zip(pieces[1::2], pieces[2::2], strict=True):
        parts |= dict.fromkeys(heads.split(", "), meaning.strip())
    return parts


def _shown(kind: Any) -> str:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is Literal:
        return " | ".join(map(str, arguments))
    if origin in (typing.Union, types.UnionType):
        return " | ".join("none" if part is type(None) else _shown(part) for part in arguments)
    if origin is list:
        return f"list of {_shown(arguments[0])}"
    return {bool: "true | false", int: "whole number", float: "number", str: "text"}.get(kind, str(kind))
