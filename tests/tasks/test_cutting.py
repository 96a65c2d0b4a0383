from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd
import pytest

from textmill.encode.encode import encode_corpus, warnings
from textmill.encode.settings import EncodeSettings
from textmill.tasks.cutting import cut_tokens
from textmill.tasks.kinds import KINDS
from textmill.tokenizer.tokenizer import Tokenizer


@pytest.mark.parametrize(
    ("limit", "cut", "kept", "wanted"),
    [
        (6, "start", 2, [1, 2, 3, 4, 5]),
        (3, "end", 0, [1, 2, 3]),
        (3, "start", 0, [3, 4, 5]),
        (3, "start", 1, [1, 4, 5]),
        (1, "start", 2, [1]),
    ],
)
def test_a_long_source_loses_one_end_and_keeps_the_name_of_its_task(
    limit: int, cut: Literal["end", "start"], kept: int, wanted: list[int]
) -> None:
    assert cut_tokens([1, 2, 3, 4, 5], limit, cut, kept) == wanted


def test_a_kind_says_whether_long_sources_are_cut_and_where_and_each_task_is_counted(tokenizer: Tokenizer) -> None:
    long, newest = "打开文件和窗口 " * 12, "保存报告"
    frame = pd.DataFrame(
        {
            "source": [f"{long}{newest}"] * 3 + ["打开"],
            "target": ["好"] * 4,
            "task": ["chat", "label", "translate", "translate"],
            "weight": 1.0,
        }
    ).assign(folds=[np.array([0])] * 4)
    kinds = {"chat": KINDS["dialogue"], "label": KINDS["classification"], "translate": KINDS["translation"]}
    corpus, counts = encode_corpus(frame, tokenizer, EncodeSettings(64, max_source_tokens=24), kinds)
    chat, label, short = (tokenizer.decode(corpus.source(row)) for row in range(3))
    assert chat.startswith("chat:") and chat.endswith(newest) and len(corpus.source(0)) == 24
    assert label.startswith("label:") and newest not in label and len(corpus.source(1)) == 24
    assert short == "translate: 打开" and [corpus.task_of(row) for row in range(3)] == ["chat", "label", "translate"]
    assert counts["tasks"] == {
        "chat": {"pairs": 1, "too_long": 0, "cut": 1},
        "label": {"pairs": 1, "too_long": 0, "cut": 1},
        "translate": {"pairs": 1, "too_long": 1, "cut": 0},
    }
    assert warnings(counts)[-1] == "1 of 2 pairs of translate are left out, because they are too long: see encode.max_tokens."
    assert len(warnings(counts)) == 3 and warnings(counts | {"tasks": {"chat": {"pairs": 200, "too_long": 1, "cut": 2}}}) == []
