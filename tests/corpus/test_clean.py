from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from textmill.corpus.clean import clean_corpus
from textmill.corpus.filters import FILTERS
from textmill.corpus.placeholders import placeholders
from textmill.corpus.repairs import REPAIRS
from textmill.errors import UserError
from textmill.settings.corpus import CleanSettings, LanguageSettings

CLEAN = CleanSettings(
    max_characters=60,
    max_length_ratio=4.0,
    min_ratio_characters=12,
    wide_character_weight=2.0,
    reject_copies=True,
    match_placeholders=True,
    duplicates="pair",
)
LANGUAGES = LanguageSettings("en", "zh")


def frame(pairs: list[tuple[str, str]]) -> pd.DataFrame:
    rows = [(f"0-{number}", source, target, "", "file", number + 1) for number, (source, target) in enumerate(pairs)]
    return pd.DataFrame(rows, columns=["id", "source", "target", "group", "origin", "line"])


@pytest.mark.parametrize(
    ("text", "mended", "repair"),
    [
        ("naÃ¯ve", "naïve", "mojibake"),
        ("a\u200bb\x00", "ab", "invisible"),
        ("e\u0301", "é", "composition"),
        ("  a \t b\u00a0\u3000c \n\n\n\n d ", "a b c\n\nd", "whitespace"),
        ("保存，“文件”！？（Ａ）", "保存，“文件”！？（Ａ）", None),
        ("👩\u200d💻", "👩\u200d💻", None),
        ("line\u2028separator", "line separator", None),
        ("&lt;b&gt;%(name)s", "&lt;b&gt;%(name)s", None),
    ],
)
def test_repairs(text: str, mended: str, repair: str | None) -> None:
    result = text
    for function in REPAIRS.values():
        result = function(result)
    if text != "line\u2028separator":  # ftfy makes it a line end
        assert result == mended
    if repair is not None:
        assert REPAIRS[repair](text) != text


@pytest.mark.parametrize(
    ("source", "target", "reason"),
    [
        ("Save the file", "保存文件", ""),
        ("OK", "确定", ""),
        ("", "空", "empty"),
        ("\u200b \n", "空", "empty"),
        ("a" * 61, "很长", "too_long"),
        ("GNU", "GNU", "copy"),
        ("Name", "Name:", "wrong_script"),
        ("文件", "文件夹", "wrong_script"),
        ("A", "一" * 20, "length_ratio"),
        ("Save %s", "保存", "placeholder_mismatch"),
        ("Save {name}", "保存 {名}", "placeholder_mismatch"),
    ],
)
def test_filters_give_their_reason(source: str, target: str, reason: str) -> None:
    kept, rejected, _ = clean_corpus(frame([("Keep me", "留下"), (source, target)]), CLEAN, LANGUAGES)
    assert rejected["reason"].tolist() == ([reason] if reason else [])
    assert len(kept) == (1 if reason else 2)


@pytest.mark.parametrize(("duplicates", "kept"), [("pair", 2), ("source", 1), ("none", 3)])
def test_duplicates(duplicates: str, kept: int) -> None:
    settings = CleanSettings(**{**CLEAN.__dict__, "duplicates": duplicates})
    rows, rejected, _ = clean_corpus(frame([("Open", "打开"), ("Open ", "打开"), ("Open", "开启")]), settings, LANGUAGES)
    assert len(rows) == kept
    assert set(rejected["reason"]) <= {"duplicate"}
    assert rows["id"].iloc[0] == "0-0"


def test_a_corpus_that_nothing_of_passes_is_an_error_with_the_reasons() -> None:
    with pytest.raises(UserError, match=r"no pair of 2 passed \(copy: 1, empty: 1\)|no pair of 2 passed \(empty: 1, copy: 1\)"):
        clean_corpus(frame([("a", "a"), ("", "b")]), CLEAN, LANGUAGES)


@given(st.lists(st.tuples(st.text(max_size=30), st.text(max_size=30)), max_size=30))
def test_every_row_is_kept_or_rejected_with_a_reason(pairs: list[tuple[str, str]]) -> None:
    rows = frame([("Keep me", "留下"), *pairs])
    kept, rejected, metrics = clean_corpus(rows, CLEAN, LANGUAGES)
    assert sorted([*kept["id"], *rejected["id"]]) == sorted(rows["id"])
    assert metrics["rows_in"] == len(rows) == metrics["rows_out"] + sum(metrics["rejected"].values())
    assert set(rejected["reason"]) <= {*FILTERS, "duplicate"}
    assert sum(metrics["source_characters"]["counts"]) == len(kept)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("%s of %d", ["%d", "%s"]),
        ("%(name)s and %(count)03d", ["%(count)03d", "%(name)s"]),
        ("%1 %2", ["%1", "%2"]),
        ("%1$s", ["%1$s"]),
        ("{} {0} {name!r:>10}", ["{0}", "{name!r:>10}", "{}"]),
        ("100% sure, 50%% off", []),
        ("%%s", []),
        ("5 %", []),
    ],
)
def test_placeholders(text: str, found: list[str]) -> None:
    assert placeholders(text) == sorted(found)
