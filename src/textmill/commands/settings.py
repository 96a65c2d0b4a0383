"""Explain the settings of params.yaml, on the terminal and in docs/settings.md."""

from __future__ import annotations

import difflib
import textwrap
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from textmill.base.errors import UserError
from textmill.settings.manual import MISSING, Setting, introduction, manual
from textmill.settings.params_file import read_params
from textmill.settings.schema import OTHER_TRAININGS, completed
from textmill.settings.tree import DEFAULT_SEED, SECTIONS

_WIDTH = 100
_SEED = Setting(
    "seed", "whole number", DEFAULT_SEED, "Random seed of the whole pipeline. Another seed gives another split and other models."
)


def main(key: str, markdown: bool) -> int:
    """Print all settings, the settings of a section, or one setting.

    markdown: print the page docs/settings.md instead.
    Raises UserError for an unknown key.
    """
    if markdown:
        print(page(), end="")
        return 0
    params = completed(read_params(Path("params.yaml")))
    print("\n".join(block for setting in chosen(key) for block in _block(setting, params)))
    return 0


def chosen(key: str) -> list[Setting]:
    """Return the settings that match `key`: a setting, all settings of a section, or all if it is empty."""
    section, _, name = key.rpartition(".")
    if name and tuple(section.split(".")) in OTHER_TRAININGS:
        return [replace(setting, key=key) for setting in chosen(f"train.{name}")]
    every = [_SEED, *manual(SECTIONS)]
    found = [
        setting for setting in every if not key or setting.key.replace("[]", "").replace(".NAME", "") == key or _is_below(setting.key, key)
    ]
    if not found:
        known = [*SECTIONS, *(setting.key for setting in every)]
        close = difflib.get_close_matches(key, known, n=3, cutoff=0.5) or list(SECTIONS)
        raise UserError(f"there is no setting {key}. Did you mean {', '.join(close)}?")
    return found


def page() -> str:
    """Return the text of docs/settings.md."""
    parts = [
        "# Settings",
        "",
        "This page lists every key of `params.yaml`. `textmill settings KEY` shows the same on a terminal, with the current value.",
        "A setting without a default must be in the file. `make docs` generates this page from the settings classes.",
        "",
        "| key | type | default | meaning |",
        "|---|---|---|---|",
        _row(_SEED),
    ]
    for name, section in SECTIONS.items():
        parts += ["", f"## {name}", ""]
        if text := introduction(section):
            parts += [*textwrap.wrap(text, 140), ""]
        parts += ["| key | type | default | meaning |", "|---|---|---|---|", *map(_row, manual({name: section}))]
    return "\n".join(parts) + "\n"


def _row(setting: Setting) -> str:
    cells = (f"`{setting.key}`", setting.type, "" if setting.default is MISSING else f"`{_shown(setting.default)}`", setting.meaning)
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _block(setting: Setting, params: Any) -> list[str]:
    value = _value(params, setting.key)
    shown = _shown(value) if value is not MISSING else "not set" if setting.default is MISSING else f"not set, so {_shown(setting.default)}"
    if "[]" in setting.key:
        shown = "in each entry of the list"
    head = f"{setting.key}: {shown}    ({setting.type}{'' if setting.default is MISSING else f', default {_shown(setting.default)}'})"
    return [head, *textwrap.wrap(setting.meaning, _WIDTH, initial_indent="    ", subsequent_indent="    ")]


def _is_below(key: str, section: str) -> bool:
    return key.startswith((f"{section}.", f"{section}[]."))


def _value(params: Any, key: str) -> Any:
    for part in key.split("."):
        if not isinstance(params, Mapping) or part not in params:
            return MISSING
        params = params[part]
    return params


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "none" if value is None else repr(value) if value == "" else str(value)
