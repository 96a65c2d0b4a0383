"""Damaged bytes of every format: rows or a UserError come out, nothing else, and what was found adds up."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import polib
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from collecting import collected, counts
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from textmill.base.errors import UserError
from textmill.collect.settings import SourceSettings
from textmill.collect.sources import READERS

PO = '# c\nmsgid ""\nmsgstr "Content-Type: text/plain; charset=UTF-8\\n"\n\n#: a.c:1\n#, fuzzy\nmsgctxt "m"\nmsgid "a\\"b"\nmsgstr "甲"\n\n'
PO += 'msgid "%d file"\nmsgid_plural "%d files"\nmsgstr[0] "x"\nmsgstr[1] "y"\n\n#~ msgid "o"\n#~ msgstr "p"\n'


def _table() -> bytes:
    written = io.BytesIO()
    pq.write_table(pa.table({"source": ["a", "b", None], "target": ["x", "y", "z"]}), written)
    return written.getvalue()


SEEDS: dict[str, list[bytes]] = {
    "jsonl": [b'{"source": "a\\u00e9", "target": "x", "n": [1, {"b": null}]}\n{"source": "b", "target": "y"}\n'],
    "csv": [b'source,target\n"a ""q""\nb",x\nc,"y"\n\nd,z\n'],
    "tsv": [b"source\ttarget\na\tx\n\nb\ty\r\n\"c\tz\n"],
    "parquet": [_table()],
    "lines": [b"a\nb\n\nc\n"],
    "text": ["one. two。three\n\nfour\nfive six seven\n".encode()],
    "gettext": [PO.encode(), polib.pofile(PO).to_binary()],
    "tmx": [
        b'<?xml version="1.0"?><!DOCTYPE tmx SYSTEM "t.dtd"><tmx version="1.4"><body><tu><tuv xml:lang="en"><seg>a<ph/>&amp;</seg></tuv>'
        b'<tuv xml:lang="zh"><seg>x</seg></tuv></tu></body></tmx>'
    ],
    "conversations": [b'{"turns": ["a", {"text": "b", "role": "u"}, "c"]}\n["d", "e"]\n'],
    "squad": [b'{"data": [{"paragraphs": [{"context": "c", "qas": [{"question": "q", "answers": [{"text": "a"}]}]}]}]}'],
}  # fmt: skip
PACKERS: list[Callable[[bytes], bytes]] = [
    bytes,
    bytes,
    gzip.compress,
    bz2.compress,
    lzma.compress,
    lambda data: pa.compress(data, "zstd", asbytes=True),
]
TOKENS = [
    b"",
    b"\0",
    b"\xff",
    b"\r",
    b"\n",
    b'"',
    b"\t",
    b"{",
    b"[",
    b"]",
    b"<",
    b"&a;",
    b"\xed\xa0\x80",
    b"\xe2\x80\xa8",
    b"\\ud800",
    b"9" * 5000,
]
edits = st.lists(st.tuples(st.integers(0, 400), st.integers(0, 6), st.one_of(st.sampled_from(TOKENS), st.binary(max_size=4))), max_size=4)


def damaged(content: bytes, changes: list[tuple[int, int, bytes]]) -> bytes:
    """`content` with pieces replaced at places of it."""
    for place, length, piece in changes:
        start = place % (len(content) + 1)
        content = content[:start] + piece + content[start + length :]
    return content


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)  # half of the time
        yield tmp_path_factory.mktemp("fuzz")


@pytest.mark.parametrize("kind", READERS)
@settings(max_examples=70, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_damaged_bytes_give_rows_or_a_user_error(folder: Path, kind: str, data: st.DataObject) -> None:
    content = damaged(data.draw(st.sampled_from(SEEDS[kind])), data.draw(edits))
    packed = damaged(data.draw(st.sampled_from(PACKERS))(content), data.draw(st.one_of(st.just([]), edits)))
    (folder / kind).write_bytes(packed)
    more = {"target_path": str(folder / kind)} if kind == "lines" else {}
    source = SourceSettings(kind, path=str(folder / kind), **more)  # type: ignore[arg-type]
    try:
        frame = collected(folder, source, max_bad_share=1.0)
    except UserError as error:
        assert "\n" not in str(error) and str(folder / kind) in str(error)
        return
    assert not [text for text in [*frame["source"], *frame["target"]] if "\0" in text]
    if kind in ("jsonl", "tsv", "lines") and packed == content:
        lines = content.removesuffix(b"\n").count(b"\n") + 1
        assert len(frame) + sum(counts(frame).values()) == lines - (kind == "tsv")


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.one_of(st.text(max_size=12), st.integers(), st.none(), st.lists(st.text(max_size=3), max_size=3)), min_size=1, max_size=20)
)
def test_whatever_json_holds_is_a_row_or_counted(folder: Path, values: list[object]) -> None:
    good = {"source": "a", "target": "b"}
    lines = [json.dumps({"source": value, "target": "x"}) for value in values]
    (folder / "j").write_text("\n".join([json.dumps(good), *lines]), encoding="utf-8")
    frame = collected(folder, SourceSettings("jsonl", path=str(folder / "j")), max_bad_share=1.0)
    texts = [value for value in values if isinstance(value, str) and "\0" not in value]
    assert frame["source"].tolist()[1:] == texts
    assert sum(counts(frame).values()) == len(values) - len(texts)
