"""The page's own words, in the language of `report.language`."""

from __future__ import annotations

import re
import tomllib
from importlib import resources
from typing import Any

from markupsafe import Markup, escape


class Words:
    """The texts of one table of words.toml. `backticks` in a text become <code>; what is filled in is escaped."""

    def __init__(self, language: str) -> None:
        self.table = tables()[language]

    def __call__(self, key: str, **values: Any) -> Markup:
        """The text with its fields filled in. Raises KeyError for a key that is not in the table."""
        text = re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(self.table[key])))
        return Markup(text).format(**values)

    def plain(self, key: str, **values: Any) -> str:
        """The text without markup, for an attribute or a title."""
        return self.table[key].replace("`", "").format(**values)

    def named(self, kind: str, name: str) -> str:
        """What people call `name`, such as a language or a system; `name` itself if the table has no word for it."""
        number = re.fullmatch(r"fold-(\d+)", name)
        if kind == "system" and number:
            return self.plain("system_fold", number=number[1])
        return self.table.get(f"{kind}_{name}", name)


def tables() -> dict[str, dict[str, str]]:
    """All tables of words.toml, by language."""
    return tomllib.loads(resources.files("textmill.report").joinpath("words.toml").read_text(encoding="utf-8"))
