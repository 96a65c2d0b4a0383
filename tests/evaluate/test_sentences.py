from __future__ import annotations

import pytest

from textmill.evaluate.sentences import sentences


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("It rains. We stay! Why? No.", ["It rains.", "We stay!", "Why?", "No."]),
        ('He said "No." Then he left.', ['He said "No."', "Then he left."]),
        ("Version 3.5 of foo.py is out. see below", ["Version 3.5 of foo.py is out. see below"]),
        ("Mr. Smith met J. Doe, e.g. Tom. Then he left.", ["Mr. Smith met J. Doe, e.g. Tom.", "Then he left."]),
        ("今天下雨。明天呢？不知道！！好", ["今天下雨。", "明天呢？", "不知道！！", "好"]),
        ("他说：“走吧。”我们走了。", ["他说：“走吧。”", "我们走了。"]),
        ("等等……好吧。", ["等等……", "好吧。"]),
        ("Features:\n* one\n\n* two", ["Features:", "* one", "* two"]),
        ("no end", ["no end"]),
        (" \n ", []),
    ],
)
def test_a_text_is_split_into_sentences(text: str, expected: list[str]) -> None:
    assert sentences(text) == expected
