"""What each format gives, from a file that is in order."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polib
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from collecting import collected, counts, pairs
from hypothesis import given
from hypothesis import strategies as st

from textmill.collect.readers.lines import continuations
from textmill.collect.settings import SourceSettings

ODD = "a\u2028b\u0085c\x0bd\x0ce\x1cf"  # what str.splitlines would cut
CONTENT = {
    "jsonl": json.dumps({"source": ODD, "target": "x"}) + '\r\n\n{"source": "c", "target": "y", "more": [1]}',
    "csv": f'source,more,target\r\n{ODD},1,x\r\n\r\n"c","2","y"',
    "tsv": f"source\tmore\ttarget\r\n{ODD}\t1\tx\r\n\nc\t2\ty",
}
PO = r"""msgid ""
msgstr "Content-Type: text/plain; charset=UTF-8\n"

msgid "Open"
msgstr "打开"

#, fuzzy
msgid "Close"
msgstr "错"

#~ msgid "Old"
#~ msgstr "旧"

msgid "New"
msgstr ""

msgid "One %d file"
msgid_plural "%d files"
msgstr[0] "%d 个文件"
"""
TMX = """<?xml version="1.0" encoding="{encoding}"?><!DOCTYPE tmx SYSTEM "tmx14.dtd">
<tmx version="1.4"><header srclang="en"/><body>
<tu><prop type="x">no text</prop><tuv xml:lang="en-US"><seg>Save <bpt i="1">&lt;b&gt;</bpt><hi>the</hi><ept i="1">&lt;/b&gt;</ept> file &amp; go</seg></tuv>
<tuv xml:lang="ZH_cn"><seg>保存文件</seg></tuv></tu>
<tu><tuv lang="zh"><seg>打开</seg></tuv><tuv lang="en"><seg>Open</seg></tuv><tuv lang="zh"><seg>開啟</seg></tuv></tu>
<tu><tuv xml:lang="en"><seg>Only</seg></tuv><tuv xml:lang="de"><seg>Nur</seg></tuv></tu>
</body></tmx>"""
SQUAD = {
    "data": [
        {"title": "t", "paragraphs": [{"context": "甲是乙。", "qas": [
            {"id": "1", "question": "甲？", "answers": [{"text": "乙", "answer_start": 2}, {"text": "是乙", "answer_start": 1}]},
            {"id": "2", "question": "丙？", "answers": [], "is_impossible": True},
        ]}]}
    ]
}  # fmt: skip
PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zstd": lambda data: pa.compress(data, "zstd", asbytes=True),
    "two gzip members": lambda data: gzip.compress(data[:9]) + gzip.compress(data[9:]),
}


def read(tmp_path: Path, kind: str, content: bytes, **more: Any) -> Any:
    path = tmp_path / "file"
    path.write_bytes(content)
    return collected(tmp_path, SourceSettings(kind, path=str(path), **more))  # type: ignore[arg-type]


@pytest.mark.parametrize("packer", PACKERS)
@pytest.mark.parametrize("kind", CONTENT)
def test_named_columns_give_the_same_pairs_packed_or_not_with_a_mark_or_not(tmp_path: Path, kind: str, packer: str) -> None:
    frame = read(tmp_path, kind, PACKERS[packer](("\ufeff" + CONTENT[kind]).encode()))
    assert pairs(frame) == [(ODD, "x"), ("c", "y")]
    assert counts(frame) == {"blank": 1}
    assert frame["line"].tolist() == ([1, 3] if kind == "jsonl" else [2, 4])


def test_a_lone_quote_in_a_tsv_is_a_character(tmp_path: Path) -> None:
    assert pairs(read(tmp_path, "tsv", b'source\ttarget\n"a\tx\nb"c\ty\n')) == [('"a', "x"), ('b"c', "y")]


def test_a_cell_of_a_csv_may_hold_line_ends_and_a_lone_carriage_return(tmp_path: Path) -> None:
    frame = read(tmp_path, "csv", b'source,target\n"a\nb ""c""",x\rz\nd,y\n')
    assert pairs(frame) == [('a\nb "c"', "x\rz"), ("d", "y")]
    assert frame["line"].tolist() == [2, 4]


def test_columns_have_the_names_in_the_settings_and_groups_are_text(tmp_path: Path) -> None:
    rows = [{"q": "a", "a": "x", "g": 7}, {"q": "b", "a": "y", "g": None}]
    frame = read(tmp_path, "jsonl", "\n".join(map(json.dumps, rows)).encode(), source_column="q", target_column="a", group_column="g")
    assert pairs(frame) == [("a", "x"), ("b", "y")] and frame["group"].tolist() == ["7", ""]


def test_a_parquet_table_is_read_by_its_columns_and_what_is_no_text_is_counted(tmp_path: Path) -> None:
    texts = pa.array(["a", "b", None, "d"]).dictionary_encode()
    pq.write_table(pa.table({"n": [1, 2, 3, 4], "source": texts, "target": ["x", "y", "z", "w"]}), tmp_path / "t", row_group_size=2)
    frame = collected(tmp_path, SourceSettings("parquet", path=str(tmp_path / "t")), max_bad_share=0.5)
    assert pairs(frame) == [("a", "x"), ("b", "y"), ("d", "w")] and frame["line"].tolist() == [1, 2, 4]
    assert counts(frame) == {"not_text": 1}


def test_bytes_in_a_parquet_table_that_are_no_utf8_are_counted(tmp_path: Path) -> None:
    texts = pa.array([b"a", b"\xff", b"c"] * 50).cast(pa.binary()).view(pa.string())
    pq.write_table(pa.table({"source": texts, "target": ["x"] * 150}), tmp_path / "t")
    frame = collected(tmp_path, SourceSettings("parquet", path=str(tmp_path / "t")), max_bad_share=0.5)
    assert len(frame) == 100 and counts(frame) == {"not_utf8": 50}


def test_aligned_lines_stay_aligned_over_odd_line_ends(tmp_path: Path) -> None:
    texts = [f"{number} {ODD}\re" for number in range(50)]
    (tmp_path / "s").write_bytes("\n".join(texts).encode() + b"\n")
    (tmp_path / "t").write_bytes(b"\r\n".join(b"%d" % number for number in range(50)))
    frame = collected(tmp_path, SourceSettings("lines", path=str(tmp_path / "s"), target_path=str(tmp_path / "t")))
    assert pairs(frame) == [(text, str(number)) for number, text in enumerate(texts)]


def test_a_pattern_of_aligned_lines_pairs_files_by_what_the_star_stands_for(tmp_path: Path) -> None:
    for name in ("a.en", "b.en", "a.zh", "b.zh"):
        (tmp_path / name).write_text(name)
    frame = collected(tmp_path, SourceSettings("lines", path=f"{tmp_path}/*.en", target_path=f"{tmp_path}/*.zh"))
    assert pairs(frame) == [("a.en", "a.zh"), ("b.en", "b.zh")]


@pytest.mark.parametrize("kind", ["po", "mo"])
def test_a_catalog_gives_translated_entries_and_the_plural_of_a_language_with_one_form(tmp_path: Path, kind: str) -> None:
    content = PO.encode() if kind == "po" else polib.pofile(PO).to_binary()
    frame = read(tmp_path, "gettext", content)
    assert pairs(frame) in ([("Open", "打开"), ("%d files", "%d 个文件")], [("%d files", "%d 个文件"), ("Open", "打开")])
    assert counts(frame) == ({"fuzzy": 1, "obsolete": 1, "untranslated": 1} if kind == "po" else {})


def test_odd_line_ends_inside_a_message_do_not_cut_a_catalog(tmp_path: Path) -> None:
    frame = read(tmp_path, "gettext", f'msgid "{ODD}"\r\nmsgstr "x"\r\n"\u2029z"\r\n'.encode())
    assert pairs(frame) == [(ODD, "x\u2029z")]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_translation_memory_gives_the_segments_of_the_two_languages(tmp_path: Path, encoding: str) -> None:
    frame = read(tmp_path, "tmx", gzip.compress(TMX.format(encoding=encoding).encode(encoding)))
    assert pairs(frame) == [("Save the file & go", "保存文件"), ("Open", "打开")]
    assert counts(frame) == {"further_variant": 1, "language_missing": 1}


@pytest.mark.parametrize(
    ("line", "settings", "expected"),
    [
        ({"turns": ["a", "b", "c"]}, {}, [("a", "b"), ("b", "c")]),
        ({"turns": ["a", "b", "c"]}, {"context_turns": 2, "turn_separator": " | "}, [("a", "b"), ("a | b", "c")]),
        (["a", "b"], {}, [("a", "b")]),
        (
            {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}]},
            {"turns_column": "messages", "reply_role": "assistant"},
            [("a", "b")],
        ),
        ({"turns": [{"from": "x", "value": "a"}, {"speaker": "y", "text": "b"}]}, {}, [("a", "b")]),
    ],
)
def test_a_conversation_gives_every_reply_with_the_turns_before_it(
    tmp_path: Path, line: object, settings: dict[str, Any], expected: list[tuple[str, str]]
) -> None:
    lines = [json.dumps(line), json.dumps(["alone"])]
    frame = read(tmp_path, "conversations", "\n".join(lines).encode(), **settings)
    assert pairs(frame) == expected
    assert counts(frame) == {"no_reply": 1}
    assert frame["group"].nunique() == 1 and frame["group"][0]


def test_questions_go_with_their_context_and_first_answer(tmp_path: Path) -> None:
    content = json.dumps(SQUAD).encode()
    frame = read(tmp_path, "squad", content)
    assert pairs(frame) == [("question: 甲？ context: 甲是乙。", "乙")] and counts(frame) == {"no_answer": 1}
    frame = read(tmp_path, "squad", content, no_answer="无")
    assert frame["target"].tolist() == ["乙", "无"] and frame["group"].nunique() == 1


def test_running_text_is_cut_into_documents_and_nothing_crosses_their_border(tmp_path: Path) -> None:
    content = b"one\ntwo\nthree\n\n\nalone\n\nfour\nfive"
    frame = read(tmp_path, "text", content, prompt_characters=4, continuation_characters=6, document_characters=0)
    assert pairs(frame) == [("one\n", "two\n"), ("two\n", "three\n"), ("four\n", "five\n")]
    assert frame["group"].str.split(":").str[-1].tolist() == ["1", "1", "8"] and counts(frame) == {"no_continuation": 1}
    whole = read(tmp_path, "text", content, prompt_characters=4, continuation_characters=99)
    assert whole["group"].nunique() == 1 and whole["target"].str.count("\n").sum() == 8


def test_a_bad_line_ends_a_document(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"one\ntwo\n\xff\nthree\nfour\n")
    frame = collected(tmp_path, SourceSettings("text", path=str(tmp_path / "x")), max_bad_share=0.5)
    assert pairs(frame) == [("one\n", "two\n"), ("three\n", "four\n")] and counts(frame) == {"not_utf8": 1}


@given(st.lists(st.text(alphabet="ab。. !?字", max_size=60), min_size=1, max_size=12), st.integers(1, 40), st.integers(1, 40))
def test_all_text_behind_the_first_unit_is_continued_exactly_once(lines: list[str], prompt: int, continuation: int) -> None:
    cut = list(continuations(list(enumerate(lines, start=1)), prompt, continuation))
    whole = "".join(line + "\n" for line in lines)
    if not cut:
        assert len(lines) == 1 and len(lines[0]) <= continuation
        return
    assert cut[0][1] + "".join(target for _, _, target in cut) == whole
    before = len(cut[0][1])
    for _, source, target in cut:
        assert whole[:before].endswith(source) and len(target) <= continuation + 1
        before += len(target)


def test_a_long_line_is_cut_behind_sentences_then_at_spaces_then_anywhere() -> None:
    cut = [target for _, _, target in continuations([(1, "ab. cd ef. ghij 一二三。四五六七八九十一二")], 5, 8)]
    assert cut == ["cd ef. ", "ghij ", "一二三。", "四五六七八九十一", "二\n"]
