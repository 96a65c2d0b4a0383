from __future__ import annotations

import pandas as pd
import pytest

from textmill.evaluate.baselines import BASELINES
from textmill.evaluate.extractive_baselines import split_question


def answers(name: str, *sources: str, development: tuple[str, ...] = ("the cat sat on a mat", "a dog and the cat")) -> list[str]:
    return BASELINES[name](frame(*development), frame(*sources))


def frame(*sources: str) -> pd.DataFrame:
    return pd.DataFrame({"source": sources, "target": "x", "task": ""})


def test_the_first_sentences_are_given_as_the_source_has_them() -> None:
    text = "One is here.  Two is here.\nThree is here. Four."
    assert answers("lead_1", text, "no end", " ") == ["One is here.", "no end", " "]
    assert answers("lead_3", text, "今天下雨。明天晴。后天呢？好。") == [
        "One is here.  Two is here.\nThree is here.",
        "今天下雨。明天晴。后天呢？",
    ]


def test_the_extract_is_the_sentence_with_most_of_the_text_in_it() -> None:
    known = ("solar power stations", "wind farms", "water and dams")
    text = "Hello there. Solar power and wind power need solar stations. Solar power is old."
    assert answers("extractive", text, "", development=known) == ["Solar power and wind power need solar stations.", ""]


@pytest.mark.parametrize(
    ("source", "question", "context"),
    [
        ("question: Who ran? context: It rained. Tom ran.", "Who ran?", ["It rained.", "Tom ran."]),
        ("question: name the runner context: It rained. Tom ran.", "name the runner", ["It rained.", "Tom ran."]),
        ("Tom ran. Who ran?", "Who ran?", ["Tom ran."]),
        ("question: 谁跑了？ context: 下雨了。汤姆跑了。", "谁跑了？", ["下雨了。", "汤姆跑了。"]),
        ("", "", []),
    ],
)
def test_a_question_is_told_from_its_context(source: str, question: str, context: list[str]) -> None:
    assert split_question(source) == (question, context)


def test_the_best_sentence_shares_most_with_the_question() -> None:
    known = ("who wrote the book", "when was the city built", "where is the river")
    text = "question: Who wrote the book? context: The city is old. The book is from Ann, who wrote it. A river flows."
    assert answers("best_sentence", text, "question: Who?", development=known) == ["The book is from Ann, who wrote it.", "question: Who?"]
    chinese = "question: 书是谁写的？ context: 城市很老。这本书是安写的。河在流。"
    assert answers("best_sentence", chinese, development=("书是谁写的", "城市在哪里", "河流")) == ["这本书是安写的。"]
