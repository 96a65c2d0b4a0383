from __future__ import annotations

import re
import string
from importlib import resources
from typing import get_args, get_type_hints

import pytest

from textmill.evaluate.metrics import METRICS
from textmill.report.page import SECTIONS
from textmill.report.settings import ReportSettings
from textmill.report.words import Words, tables

TABLES = tables()


def fields(text: str) -> list[str]:
    return sorted(name for _, name, _, _ in string.Formatter().parse(text) if name)


def test_every_language_of_the_setting_has_a_table_with_the_same_keys_and_fields() -> None:
    assert set(get_args(get_type_hints(ReportSettings)["language"])) == set(TABLES)
    for table in TABLES.values():
        assert list(table) == list(TABLES["en"])
        for key, text in table.items():
            assert fields(text) == fields(TABLES["en"][key]) and text.count("`") % 2 == 0, key


def test_every_text_is_used_and_every_text_that_is_used_exists() -> None:
    folder = resources.files("textmill.report")
    code = "\n".join(each.read_text(encoding="utf-8") for each in folder.iterdir() if each.name.endswith((".py", ".jinja")))
    asked = set(re.findall(r"\b(?:t|words|plain)\(\"(\w+)\"", code))
    assert asked - {key for key in asked if key.endswith("_")} <= set(TABLES["en"])
    # Keys that are put together: their beginnings, as they stand in the code.
    begun = (
        "section_ language_ system_ metric_ variant_ slice_ slices_ outcome_ outputs_ question_ samples_ short_ curve_ verdict_ lengths_of_"
        " languages_of_ chinese_of_ splitting_groups leak_"
    ).split()
    plain = {"source", "target", "reason", "kind", "test_set", "published_test_set"}
    assert not [key for key in TABLES["en"] if key not in asked | plain and not key.startswith(tuple(begun))]
    assert {f"section_{name}" for name in SECTIONS} | {f"metric_{name}" for name in METRICS} <= set(TABLES["en"])


def test_what_is_filled_in_is_escaped_and_backticks_are_code() -> None:
    words = Words("en")
    words.table = {"key": "a < b in `c` is {value}"}
    assert words("key", value="<i>`x`") == "a &lt; b in <code>c</code> is &lt;i&gt;`x`"


@pytest.mark.parametrize(("name", "shown"), [("fold-12", "fold 12"), ("student", "student"), ("new-system", "new-system")])
def test_a_system_without_a_word_keeps_its_name(name: str, shown: str) -> None:
    assert Words("en").named("system", name) == shown
