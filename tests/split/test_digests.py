from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from textmill.base.tables import write_table
from textmill.split.digests import DIGEST_SCHEMA, digest_of, recognized
from textmill.split.settings import OverlapSettings

_LONG = "the quick brown fox jumps over a lazy dog while seven green frogs look on"
_CHINESE = "敏捷的棕色狐狸跳过了一只懒惰的狗"
_TEST = pd.DataFrame({"source": [_LONG, "Save all files", ""], "target": [_CHINESE, "保存所有文件", "一段没有来源的文字"]})


@pytest.mark.parametrize(
    ("text", "side", "similarity", "reason"),
    [
        (_LONG, "source", 0.8, "test_overlap"),
        ("They say THE quick, brown fox jumps over a lazy dog while seven green 99 frogs sleep", "source", 0.8, "test_overlap"),
        (f"他说{_CHINESE[:13]}。然后就走了，谁也不知道他去了哪里", "target", 0.8, "test_overlap"),
        ("save ALL files!", "source", 1.0, "test_overlap"),
        ("保存所有文件 2", "target", 1.0, "test_overlap"),
        ("一段没有来源的文字", "target", 1.0, "test_overlap"),
        ("The quick brown fox jumps over a lazy cat while seven green frogs look on", "source", 0.6, "near_test"),
        ("The quick brown fox jumps over a lazy cat while seven green frogs look on", "target", 0.6, ""),
        ("The quick brown fox jumps over a lazy cat while seven green frogs look on", "source", 1.0, ""),
        ("the quick brown fox jumps over a lazy", "source", 0.9, ""),
        ("Save all", "source", 0.9, ""),
        ("保存", "target", 0.9, ""),
        ("!!!", "target", 0.9, ""),
        ("", "source", 0.9, ""),
    ],
)
def test_texts_that_overlap_with_the_test_set_are_recognized_by_its_digest(text: str, side: str, similarity: float, reason: str) -> None:
    digest = digest_of(_TEST, 13)
    assert recognized(["nothing of the kind", text], digest, side, OverlapSettings(similarity, 13)) == ["", reason]


def test_a_digest_contains_no_text_and_an_empty_one_recognizes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "digest.parquet"
    write_table(path, digest_of(_TEST, 13), DIGEST_SCHEMA)
    content = path.read_bytes()
    assert not any(word.encode() in content for word in ("quick", "Save", "保存", "狐狸"))
    nothing = digest_of(_TEST.head(0), 13)
    assert recognized(["Save all files"], nothing, "source", OverlapSettings(0.5, 13)) == [""]
