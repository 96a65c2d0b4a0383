from __future__ import annotations

from dataclasses import replace

import pytest
from cleaning import CLEAN, EN_ZH, EVERYTHING_OFF, language_reason

from textmill.clean.chinese import chinese_variant
from textmill.clean.filters import FILTERS
from textmill.clean.rows import RowPlan, clean_rows
from textmill.clean.settings import CleanSettings
from textmill.tasks.languages import LanguageSettings
from textmill.text.placeholders import placeholders

EN_DE = LanguageSettings("en", "de")


def reason(source: str, target: str, languages: LanguageSettings = EN_ZH, settings: CleanSettings = CLEAN) -> str:
    return clean_rows([source], [target], RowPlan(settings.repairs, settings.filters, languages)).reasons[0]


CASES = [
    ("Save the file", "保存文件", ""),
    ("OK", "确定", ""),
    ("", "空", "empty"),
    ("\u200b \n", "空", "empty"),
    ("a" * 501, "很长", "too_long"),
    ("The end.", "就是\ufffd。", "damaged"),
    ("Tomorrow, he will land.", "鏄庡ぉ锛屼粬灏嗙櫥", "damaged"),
    ("All of us.", "- - -", "punctuation_only"),
    ("?!", "什么", "punctuation_only"),
    ("Click here to read more.", "点击此处阅读更多。", "boilerplate"),
    ("Home > Products > Contact", "首页 > 产品 > 联系我们", "boilerplate"),
    ("Copyright © 2019. All rights reserved.", "版权所有 © 2019", "boilerplate"),
    ("Click here to read more about the war.", "点击这里，了解更多关于战争的信息。", ""),
    ("We went home > and slept.", "我们回家睡觉了。", ""),
    ("GNU", "GNU", "copy"),
    ("Back off!", "back off", "copy"),
    ("我叔叔来看我。", "My uncle comes.", "swapped"),
    ("Name", "Name is", "wrong_script"),
    ("文件 A", "文件夹", ""),
    ("Tom said that.", "汤姆" * 20, "repetition"),
    ("No no no no no.", "不不不不不。", ""),
    ("It is 4111 1111 1111 1111.", "是 4111 1111 1111 1111。", ""),
    ("Ha ha ha ha ha ha ha ha ha!", "哈哈哈哈哈哈哈哈哈哈哈哈哈哈！", "repetition"),
    ("A", "一" * 3 + "二三四五六七八九十甲乙丙丁", "length_ratio"),
    ("Save %s", "保存", "placeholder_mismatch"),
    ("Save {name}", "保存 {名}", "placeholder_mismatch"),
    ("100 % sure", "百分之百确定", ""),
]


@pytest.mark.parametrize(("source", "target", "expected"), CASES)
def test_filters_give_their_reason(source: str, target: str, expected: str) -> None:
    assert reason(source, target) == expected


def test_every_filter_has_a_case() -> None:
    assert set(FILTERS) <= {expected for _, _, expected in CASES}


@pytest.mark.parametrize(("source", "target", "_expected"), CASES)
def test_with_everything_off_only_empty_sides_go(source: str, target: str, _expected: str) -> None:
    assert reason(source, target, settings=EVERYTHING_OFF) == ("" if source and target else "empty")


@pytest.mark.parametrize(
    ("source", "target", "expected"),
    [
        ("Two young men are outside near many bushes.", "Zwei junge Männer sind im Freien in der Nähe vieler Büsche.", ""),
        ("Zwei junge Männer sind im Freien in der Nähe.", "Two young men are outside near many bushes.", "swapped"),
        ("Two young men are outside.", "Deux jeunes hommes sont dehors près des buissons.", "wrong_language"),
        ("Two young men are outside.", "Malá asijská holčička běží k foťáku po dlážděné ulici.", "wrong_language"),
        ("OK", "Job", ""),
        ("Tmux client", "Fcitx5", ""),
        ("A man in a hat is white.", "Ein Mann mit Hut ist wei脽.", "damaged"),
        ("A man", "Мужчина", "wrong_script"),
    ],
)
def test_languages_of_one_script_are_told_apart_and_short_texts_are_not_judged(source: str, target: str, expected: str) -> None:
    assert reason(source, target, EN_DE) == expected


@pytest.mark.parametrize(
    ("text", "variant"),
    [
        ("我们应该这样说", "simplified"),
        ("我們應該這樣說", "traditional"),
        ("佢嘅工作仲包括設計城市", "cantonese"),
        ("呢個係乜嘢", "cantonese"),
        ("這個關係很重要，係數也是", "traditional"),
        ("你好", "unclear"),
        ("Hello", "unclear"),
    ],
)
def test_ways_of_writing_chinese(text: str, variant: str) -> None:
    assert chinese_variant(text) == variant


@pytest.mark.parametrize(
    ("knob", "target", "expected"),
    [
        ("any", "我們應該這樣說", ""),
        ("simplified", "我們應該這樣說", "chinese_variant"),
        ("traditional", "我們應該這樣說", ""),
        ("traditional", "我们应该这样说", "chinese_variant"),
        ("simplified", "你好", ""),
        ("any", "佢嘅工作仲包括設計城市", "wrong_language"),
        ("any", "これはほんです", "wrong_language"),
    ],
)
def test_chinese_variants_and_neighbours(knob: str, target: str, expected: str) -> None:
    settings = replace(CLEAN.filters, chinese_variant=knob)
    assert language_reason("We should say it like this.", target, EN_ZH, settings) == expected


def test_cantonese_is_right_where_it_is_asked_for_and_a_label_has_no_language() -> None:
    assert language_reason("His work is this.", "佢嘅工作仲包括設計城市", LanguageSettings("en", "yue")) == ""
    assert language_reason("This film is wonderful and sad.", "positif et plus encore", LanguageSettings("en", "und")) == ""


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
