"""Build frozen dataclasses from mappings. Unknown keys, missing keys and wrong types are errors that name the full key."""

from __future__ import annotations

import dataclasses
import difflib
import math
import sys
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal, TypeVar

from textmill.base.errors import UserError

T = TypeVar("T")

# Trainings that inherit every key from `train` and list only the differences.
OTHER_TRAININGS = (("distill", "train"), ("prune", "fine_tune"), ("back_translate", "train"))

# Settings that only the fold models may have, with the values that switch them off.
OF_FOLDS: dict[str, Any] = {"init_from": "", "parallel": "none", "stop_on": "loss", "subword_sampling": 0.0, "profile": False}
_NOT_INHERITED = {*OF_FOLDS, "init_sha256", "processes", "num_workers"}


def build(section: type[T], values: Any, key: str) -> T:
    """Build a settings dataclass from one section of params.yaml.

    section: a frozen dataclass whose fields are bool, int, float, str, Literal, list[...], dict[str, ...],
        `X | None`, `X | Literal[...]` or such dataclasses.
    values: the section as read from the file. key: full key of the section, for messages.
    Raises UserError for an unknown key (it suggests the nearest known one), a missing key, a wrong type, or a value that
    `__post_init__` of the section rejects.
    """
    if not isinstance(values, Mapping):
        raise UserError(f"params.yaml: {key} must be a mapping, not {_shown(values)}.")
    fields = {field.name: field for field in dataclasses.fields(section)}  # type: ignore[arg-type]
    for name in values:
        if name not in fields:
            raise UserError(f"params.yaml: unknown key {key}.{name}. {_nearest(str(name), list(fields), key)}")
    annotations = typing.get_type_hints(section)
    arguments: dict[str, Any] = {}
    for name, field in fields.items():
        if name in values:
            arguments[name] = _convert(values[name], annotations[name], f"{key}.{name}")
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise UserError(f"params.yaml: key {key}.{name} is missing. Add it.")
    try:
        return section(**arguments)
    except ValueError as error:
        raise UserError(f"params.yaml: {key}.{error}") from None


def converted(value: Any, kind: Any, key: str) -> Any:
    """Return `value` as a mapping of type dict[str, X], where X is a settings dataclass or Any. Raises UserError as `build` does."""
    item = typing.get_args(kind)[1]
    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        raise UserError(f"params.yaml: {key} must be a mapping, not {_shown(value)}.")
    return dict(value) if item is Any else {name: build(item, each, f"{key}.{name}") for name, each in value.items()}


def completed(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return `params` with the trainings of distill, prune and back_translate filled in from `train`.

    Settings of `train` that have no meaning there are not inherited. Values of a wrong type stay as they are: `build` reports them.
    """
    full = dict(params)
    train = params.get("train", {})
    if isinstance(train, Mapping):
        common = {name: value for name, value in train.items() if name not in _NOT_INHERITED}
        for section, key in OTHER_TRAININGS:
            values = params.get(section, {})
            if isinstance(values, Mapping) and isinstance(values.get(key, {}), Mapping):
                full[section] = {**values, key: common | dict(values.get(key, {}))}
    return full


def require(condition: bool, message: str) -> None:
    """Raise ValueError(message) unless `condition`. `build` puts the key of the section before the message."""
    if not condition:
        raise ValueError(message)


def _convert(value: Any, kind: Any, key: str) -> Any:
    origin = typing.get_origin(kind)
    if dataclasses.is_dataclass(kind):
        return build(typing.cast(type, kind), value, key)
    if origin in (typing.Union, types.UnionType):
        words = [part for part in typing.get_args(kind) if part is type(None) or typing.get_origin(part) is Literal]
        if (value is None and type(None) in words) or any(value in typing.get_args(word) for word in words):
            return value
        (inner,) = (part for part in typing.get_args(kind) if part not in words)
        others = [str(choice) for word in words for choice in typing.get_args(word)]
        if others and isinstance(value, str) and inner in (bool, int, float):
            raise UserError(f"params.yaml: {key} must be {_TYPE_NAMES[inner]} or {' or '.join(others)}, not {_shown(value)}.")
        return _convert(value, inner, key)
    if origin is Literal:
        choices = typing.get_args(kind)
        if value not in choices or isinstance(value, bool):
            listed = ", ".join(map(str, choices))
            raise UserError(f"params.yaml: {key} is {_shown(value)}, but must be one of: {listed}.")
        return value
    if origin is dict:
        return converted(value, kind, key)
    if origin is list:
        (item,) = typing.get_args(kind)
        if not isinstance(value, list):
            raise UserError(f"params.yaml: {key} must be a list, not {_shown(value)}.")
        return [_convert(entry, item, f"{key}[{position}]") for position, entry in enumerate(value)]
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value) if abs(value) <= sys.float_info.max else math.inf
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise UserError(f"params.yaml: {key} must be {_TYPE_NAMES[kind]}, not {_shown(value)}.")
    if isinstance(value, float) and not math.isfinite(value):
        raise UserError(f"params.yaml: {key} must be a finite number, not {value}.")
    return value


_TYPE_NAMES = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}


def _shown(value: Any) -> str:
    return f"{value!r} ({type(value).__name__})" if not isinstance(value, Mapping) else "a mapping"


def _nearest(name: str, known: list[str], key: str) -> str:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"Did you mean {key}.{close[0]}?" if close else f"Known keys: {', '.join(known)}."
