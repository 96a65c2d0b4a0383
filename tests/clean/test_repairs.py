from __future__ import annotations

import unicodedata
from dataclasses import replace

import ftfy
import pytest
from cleaning import CLEAN
from hypothesis import given
from hypothesis import strategies as st

from textmill.clean.repairs import NEEDS_NOTHING, REPAIR_NAMES, Pair, chosen_repairs, repaired
from textmill.clean.settings import RepairSettings


def mend(source: str, target: str = "x", settings: RepairSettings = CLEAN.repairs, quick: bool = False) -> tuple[Pair, set[str]]:
    pair, changed = repaired(Pair(source, target), chosen_repairs(settings), quick)
    return pair, {name for place, name in enumerate(REPAIR_NAMES) if changed >> place & 1}


@pytest.mark.parametrize(
    ("text", "mended", "names"),
    [
        ("naÃ¯ve", "naïve", {"mojibake"}),
        ("æˆ‘å–œæ¬¢", "我喜欢", {"mojibake"}),
        ("a\u200bb", "ab", {"invisible"}),
        ("我\u2060们\u200e", "我们", {"invisible"}),
        ("e\u0301", "é", {"composition"}),
        ("  a \t b\u00a0\u2003c \n\n\n\n d ", "a b c\n\nd", {"whitespace"}),
        ("<p>He threw a rock.</p>", "He threw a rock.", {"markup", "whitespace"}),
        ("停手！</b>&nbsp;<br/>", "停手！", {"markup", "entities", "whitespace"}),
        ("I&#x27;ve&nbsp;seen it&#12290;", "I've seen it。", {"entities", "whitespace"}),
        ("Ｔｏｍ\u3000ｗａｓ，\u3000ｔｏｏ．", "Tom was, too.", {"full_width"}),
        ("保存（Ａ１）", "保存（A1）", {"full_width"}),
        ("保存，“文件”！？", "保存，“文件”！？", set()),
        ("“Curly” ‘quotes’ stay — and so does ﬁ", "“Curly” ‘quotes’ stay — and so does ﬁ", set()),
        ("👩\u200d💻", "👩\u200d💻", set()),
        ("می\u200cخواهم", "می\u200cخواهم", set()),
        ("a < b, <name>, <a@b.c>, AT&T; 1 &lt 2", "a < b, <name>, <a@b.c>, AT&T; 1 &lt 2", set()),
        ("%(name)s &amp; {x}", "%(name)s & {x}", {"entities"}),
    ],
)
def test_repairs(text: str, mended: str, names: set[str]) -> None:
    assert mend(text) == (Pair(mended, "x"), names)


def test_markup_on_both_sides_is_content_and_so_are_escaped_angle_brackets() -> None:
    pair = Pair('Open <a href="%s">this</a> &lt;tag&gt;', '打开<a href="%s">这个</a>&lt;tag&gt;')
    assert mend(*pair)[0] == pair
    assert mend(pair.source, "打开这个")[0].source == "Open this <tag>"


def test_chinese_punctuation_is_a_knob_that_is_off() -> None:
    assert mend("你好,世界?")[0].source == "你好,世界?"
    assert mend("你好,世界? ok, then", settings=replace(CLEAN.repairs, chinese_punctuation=True))[0].source == "你好，世界？ ok, then"


@pytest.mark.parametrize("name", REPAIR_NAMES)
def test_each_repair_can_be_switched_off(name: str) -> None:
    text = "naÃ¯ve <b>x</b> &eacute; \u200b Ａ e\u0301  你,"
    everything = replace(CLEAN.repairs, chinese_punctuation=True)
    assert name in mend(text, settings=everything)[1]
    assert name not in mend(text, settings=replace(everything, **{name: False}))[1]


def test_mojibake_below_entities_and_with_a_lost_byte_is_found() -> None:
    assert mend("10Î&frac14;s", quick=True)[0].source == "10μs"
    assert mend("voilÃ le travail", quick=True)[0].source == "voilà le travail"


PLAIN = st.text(st.sampled_from("aZ09 .,'\"!?()ÀéßÃÂöüÿøÐ我们的龥，。！“”‘’…—あア가힣[]{}%$#@;:=>~|`^*+-_/\\"), max_size=40)


@given(PLAIN, PLAIN)
def test_a_text_that_needs_no_repair_is_unchanged(source: str, target: str) -> None:
    assert mend(source, target, quick=True) == mend(source, target, quick=False)


@given(st.lists(st.integers(0x21, 0xD7FF).map(chr), max_size=4).map("".join))
def test_any_short_text_that_needs_no_repair_is_unchanged(text: str) -> None:
    if NEEDS_NOTHING.fullmatch(text):
        assert mend(text, quick=True) == mend(text, quick=False)
        assert unicodedata.normalize("NFC", text) == text


@given(st.text(max_size=40), st.text(max_size=40))
def test_repairing_twice_is_repairing_once(source: str, target: str) -> None:
    settings = replace(CLEAN.repairs, entities=False, mojibake=False)  # &amp;lt; and doubled mojibake are unpacked one layer at a time
    once = mend(source, target, settings)[0]
    assert mend(*once, settings)[0] == once


def test_ftfy_is_used_without_its_folding_of_widths() -> None:
    assert ftfy.fix_text("保存，文件！") != "保存，文件！", "ftfy no longer folds: its settings in repairs.py may go"
    assert mend("保存，文件！")[0].source == "保存，文件！"
