"""Files that are not in order: an error in one line with file, place, what and what to do, or a count by a stated policy."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import re
import struct
import time
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from collecting import collected, counts, pairs

from textmill.base.errors import UserError
from textmill.collect.readers import files as reader_files
from textmill.collect.readers.columns import read_tsv
from textmill.collect.readers.files import SourceFile
from textmill.collect.readers.row import Reading
from textmill.collect.settings import SourceSettings
from textmill.collect.sources import READERS

GOOD = {
    "jsonl": json.dumps({"source": "a", "target": "x"}).encode() + b"\n",
    "csv": b"a,x\n",
    "tsv": b"a\tx\n",
    "text": b"a b c\n",
    "conversations": b'["a", "x"]\n',
}
HEADER = {"csv": b"source,target\n", "tsv": b"source\ttarget\n"}
BLANK_TMX = '<tmx version="1.4"><body>{}</body></tmx>'
UNIT = '<tu><tuv xml:lang="en"><seg>{}</seg></tuv><tuv xml:lang="zh"><seg>x</seg></tuv></tu>'


def source_of(path: Path, kind: str, **more: Any) -> SourceSettings:
    if kind == "lines":
        more.setdefault("target_path", str(path))
    return SourceSettings(kind, path=str(path), **more)  # type: ignore[arg-type]


def refusal(folder: Path, source: SourceSettings, **more: Any) -> str:
    with pytest.raises(UserError) as error:
        collected(folder, source, **more)
    assert not (folder / "out" / "pairs.parquet").exists()
    message = str(error.value)
    assert "\n" not in message and message.isprintable()
    return message


def in_a_thousand(kind: str, bad: bytes) -> bytes:
    return HEADER.get(kind, b"") + GOOD[kind] * 499 + bad + b"\n" + GOOD[kind] * 500


ONE_BAD_ROW: list[tuple[str, bytes, str]] = [
    ("jsonl", b'{"source": "\xff", "target": "x"}', "not_utf8"),
    ("jsonl", b'{"source": "a"}', "missing_field"),
    ("jsonl", b'{"source": "a", "source": "b", "target": "x"}', "not_json"),
    ("jsonl", b'{"source": ["a"], "target": "x"}', "not_text"),
    ("jsonl", b'{"source": null, "target": "x"}', "not_text"),
    ("jsonl", b'{"source": 1e999, "target": "x"}', "not_text"),
    ("jsonl", b'{"source": "\\ud800", "target": "x"}', "lone_surrogate"),
    ("jsonl", b'{"source": "\\u0000", "target": "x"}', "nul"),
    ("jsonl", b'{"source": "a\0", "target": "x"}', "not_json"),
    ("jsonl", b'{"source": "a", "target": "x"', "not_json"),
    ("jsonl", b'{"source": ' + b"9" * 5000 + b', "target": "x"}', "not_json"),
    ("jsonl", b"[" * 100_000, "not_json"),
    ("jsonl", b'{"a":' * 100_000, "not_json"),
    ("jsonl", b"[1]", "not_object"),
    ("jsonl", b"NaN", "not_object"),
    ("csv", b"a\xff,x", "not_utf8"),
    ("csv", b"a,x,y", "columns"),
    ("csv", b"a", "columns"),
    ("csv", b'"a"b,x', "not_csv"),
    ("csv", b"a\0,x", "nul"),
    ("tsv", b"\xe4\xb8\tx", "not_utf8"),
    ("tsv", b"a\tx\ty", "columns"),
    ("tsv", b"a", "columns"),
    ("tsv", b"a\0\tx", "nul"),
    ("text", b"\xd6\xd0\xb9\xfa", "not_utf8"),
    ("conversations", b'["a", 1]', "not_text"),
    ("conversations", b'{"messages": []}', "no_turns"),
    ("conversations", b'{"turns": ["a", {"text": null}]}', "not_text"),
    ("conversations", b'["a", "\\udfff"]', "lone_surrogate"),
]


@pytest.mark.parametrize(("kind", "bad", "reason"), ONE_BAD_ROW, ids=[f"{kind}-{bad[:24]!r}" for kind, bad, _ in ONE_BAD_ROW])
def test_one_bad_row_in_a_thousand_is_counted_and_the_others_are_kept(tmp_path: Path, kind: str, bad: bytes, reason: str) -> None:
    path = tmp_path / "x"
    path.write_bytes(in_a_thousand(kind, bad))
    frame = collected(tmp_path, source_of(path, kind))
    assert counts(frame) == {reason: 1}
    assert kind == "text" or len(frame) == 999
    place = 500 + (kind in HEADER)
    assert frame.attrs["sources"][0]["bad"][reason]["first"].startswith(f"{path}:{place}: ")
    assert kind == "text" or frame["line"].tolist()[-1] == place + 500


@pytest.mark.parametrize("side", [0, 1])
def test_a_bad_line_of_aligned_files_takes_its_partner_along_and_shifts_nothing(tmp_path: Path, side: int) -> None:
    lines = [[b"%d" % number for number in range(1000)] for _ in range(2)]
    lines[side][499] = b"\xff"
    for name, content in zip("st", lines, strict=True):
        (tmp_path / name).write_bytes(b"\n".join(content))
    frame = collected(tmp_path, source_of(tmp_path / "s", "lines", target_path=str(tmp_path / "t")))
    assert len(frame) == 999 and (frame["source"] == frame["target"]).all() and counts(frame) == {"not_utf8": 1}


def test_a_blank_line_on_one_side_stays_for_cleaning_and_on_both_sides_is_skipped(tmp_path: Path) -> None:
    (tmp_path / "s").write_bytes(b"a\n\n\n")
    (tmp_path / "t").write_bytes(b"x\ny\n\n")
    frame = collected(tmp_path, source_of(tmp_path / "s", "lines", target_path=str(tmp_path / "t")))
    assert pairs(frame) == [("a", "x"), ("", "y")] and counts(frame) == {"blank": 1}


def table_with(piece: bytes, changed: bytes) -> bytes:
    written = io.BytesIO()
    pq.write_table(pa.table({"source": ["a"], "target": ["x"]}), written)
    assert piece in written.getvalue()
    return written.getvalue().replace(piece, changed)


def gzipped(data: bytes) -> bytes:
    """Without the time of day: it would be in the name of a test, and two workers must collect the same names."""
    return gzip.compress(data, mtime=0)


REFUSED: list[tuple[str, bytes, str]] = [
    *[(kind, b"", "x: is empty. Put text into it") for kind in READERS if kind != "parquet"],
    *[(kind, gzipped(b""), "x: is empty") for kind in READERS if kind != "parquet"],
    *[(kind, "a\nb".encode("utf-16"), "x: is UTF-16. Convert it") for kind in READERS if kind not in ("parquet", "tmx")],
    *[(kind, "abcd".encode("utf-16-le"), "x: not text, or UTF-16") for kind in READERS if kind not in ("parquet", "tmx")],
    *[(kind, b"\n \n\t\n\n", "contains no pair") for kind in ("jsonl", "lines", "text", "conversations")],
    ("tsv", b"\n\n", "x:1: field 'source' is missing"),
    ("csv", b"\n\n", "x:1: field 'source' is missing"),
    *[
        (kind, pack(GOOD[kind] * 999)[:-12], r"x: cannot be read, damaged or truncated \(.+\). Download it again")
        for kind in ("jsonl", "csv", "tsv", "text")
        for pack in (gzipped, bz2.compress, lzma.compress, lambda data: pa.compress(data, "zstd", asbytes=True))
    ],
    ("jsonl", b'{"source": "a"}\n', r"x:1: field 'target' is missing \(fields: source\). Name another in params.yaml, .*target_column"),
    ("jsonl", b"\xd6\xd0\xb9\xfa\n" * 9, r"x:1: byte 0xd6 is not UTF-8.*iconv -f ENCODING.*\(9 of 9 rows are bad: not_utf8 9"),
    *[
        (kind, start + bytes(range(1, 256)) * 9, r"^[^ ]*/x: is binary, not text \(a.*\)\. Convert it to text, or remove it from collect\.sources\.")
        for start in (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"%PDF-1.7\n", b"PK\x03\x04", b"\xd0\xcf\x11\xe0")
        for kind in ("tsv", "csv", "jsonl", "lines", "text", "conversations", "squad")
    ],
    ("tsv", bytes(range(1, 256)) * 9, "x: is binary, not text"),
    ("tsv", b"PAR1" + bytes(range(1, 256)) * 9, "x: is binary, not text .*set its format to parquet"),
    ("tsv", "source\tgr\u00f6\u00dfe\na\tb\n".encode("latin-1"), r"x:1: byte 0xf6 is not UTF-8\. Convert the file to UTF-8 from its own"),
    ("tsv", b"source\ttarget\n" + "Gr\u00f6\u00dfe\tsize\n".encode("latin-1") * 9, r"x:2: byte 0xf6 is not UTF-8\. Convert .* from its own encoding"),
    ("tsv", b"source\tzh\na\tb\n", r"x:1: field 'target' is missing \(fields: source, zh\)"),
    ("tsv", b"source\ttarget\tsource\na\tb\tc\n", "x:1: column 'source' occurs 2 times"),
    ("tsv", b"source\ttarget\n", "x: contains no pair"),
    ("tsv", b"source\ttarget\ra\tb\r", "x:1: field 'target' is missing"),
    ("csv", b"source,target,target\na,b,c\n", "x:1: column 'target' occurs 2 times"),
    ("csv", b'source,target\n"a,b\nc,d\n', r"x:2: not CSV \(unexpected end of data\). Mend the line, or use format tsv"),
    ("csv", b'source,target\n"a\nb"c,d\n', r"x:2: not CSV \('\,' expected after"),
    ("parquet", b"PAR1xxxx", "x: not a readable Parquet file"),
    ("parquet", b"", "x: not a readable Parquet file"),
    ("parquet", table_with(b"source", b"sourc\xff"), "x: not a readable Parquet file"),
    # A nullable column called required: a look at its metadata would end the whole process (pyarrow 25).
    ("parquet", table_with(b"%\x02\x18\x06source", b"%\x00\x18\x06source"), "x: not a readable Parquet file"),
    ("gettext", b'msgid "a\nmsgstr', "x: not a readable gettext catalog"),
    ("gettext", b'msgid "a"\nmsgstr "\xb4\xf2"\n', "x:2: byte 0xb4 is not UTF-8"),
    ("gettext", b"\xde\x12\x04\x95 no more", "x: not a readable gettext catalog"),
    ("gettext", b'msgid ""\nmsgstr "Content-Type: text/plain\\n"\n', "contains no pair"),
    ("squad", b"{", "x: not JSON"),
    ("squad", b"[" * 100_000, "x: not JSON"),
    ("squad", b'{"version": 1}', "x: not in the format of SQuAD .* a list 'data' is missing"),
    ("squad", b'{"data": [{"paragraphs": [{"context": "c", "qas": [{"question": "q"}]}]}]}', "x:1: has no list of 'answers'"),
    ("tmx", b"<html/>", "x: not TMX: its outermost element is 'html'"),
    ("tmx", b"<tmx>\n<tu>", r"x:2: not well-formed XML \(no element found\)"),
    ("tmx", b"<tmx>\n\xff</tmx>", r"x:2: not well-formed XML \(not well-formed \(invalid token\)\)"),
    ("tmx", b"<?xml version='1.0' encoding='x-no-such'?><tmx/>", "x.*: not (readable as|well-formed) XML"),
    ("tmx", BLANK_TMX.format("<tu/>").encode(), r"x: contains no pair \(1 skipped: language_missing 1\)"),
    ("tmx", b"<tmx " + b"a" * 3_000_000, "x:1: a tag without an end"),
    ("tmx", BLANK_TMX.format(UNIT.format("&nbsp;")).encode(), "not well-formed XML .undefined entity"),
    ("tmx", ('<!DOCTYPE tmx SYSTEM "a.dtd">' + BLANK_TMX.format(UNIT.format("&nbsp;"))).encode(), "x:1: entity 'nbsp' is not known"),
    (
        "tmx",
        ('<!DOCTYPE tmx [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;">]>' + BLANK_TMX.format(UNIT.format("&b;"))).encode(),
        "x: declares the entity 'a', which TMX does not need",
    ),
    (
        "tmx",
        ('<!DOCTYPE tmx [<!ENTITY a SYSTEM "file:///etc/passwd">]>' + BLANK_TMX.format(UNIT.format("&a;"))).encode(),
        "x: declares the entity 'a'",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "content", "message"), REFUSED, ids=[f"{kind}-{content[:24]!r}" for kind, content, _ in REFUSED])
def test_a_file_that_cannot_be_read_is_one_line_with_file_and_reason(tmp_path: Path, kind: str, content: bytes, message: str) -> None:
    path = tmp_path / "x"
    path.write_bytes(content)
    assert re.search(message, refusal(tmp_path, source_of(path, kind)))


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzipped,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zstd": lambda data: pa.compress(data, "zstd", asbytes=True),
}


@pytest.mark.parametrize("pack", PACKERS)
@pytest.mark.parametrize("kind", ["jsonl", "csv", "tsv", "text", "conversations"])
def test_half_a_packed_file_is_an_error(tmp_path: Path, kind: str, pack: str) -> None:
    content = PACKERS[pack](HEADER.get(kind, b"") + GOOD[kind] * 5000)
    (tmp_path / "x").write_bytes(content[: len(content) // 2])
    assert re.search(
        r"x: cannot be read, damaged or truncated \(.+\)\. Download it again", refusal(tmp_path, source_of(tmp_path / "x", kind))
    )


@pytest.mark.parametrize("pack", PACKERS)
def test_half_a_json_line_at_the_end_of_a_packed_file_is_counted(tmp_path: Path, pack: str) -> None:
    (tmp_path / "x").write_bytes(PACKERS[pack](GOOD["jsonl"] * 500 + GOOD["jsonl"][:15]))
    frame = collected(tmp_path, source_of(tmp_path / "x", "jsonl"))
    assert len(frame) == 500 and counts(frame) == {"not_json": 1}
    assert frame.attrs["sources"][0]["bad"]["not_json"]["first"].startswith(f"{tmp_path}/x:501: ")


@pytest.mark.parametrize(("sources", "targets"), [(1000, 999), (3, 1000)])
def test_unequal_line_counts_are_named_with_both_files(tmp_path: Path, sources: int, targets: int) -> None:
    (tmp_path / "s").write_bytes(b"a\n" * sources)
    (tmp_path / "t").write_bytes(b"b\n" * targets)
    message = refusal(tmp_path, source_of(tmp_path / "s", "lines", target_path=str(tmp_path / "t")))
    assert f"s has {sources} lines, but {tmp_path}/t has {targets}." in message


@pytest.mark.parametrize("kind", ["jsonl", "csv", "tsv", "text", "conversations", "lines"])
def test_a_line_of_100_megabytes_is_counted_in_bounded_memory_and_time(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x"
    with path.open("wb") as file:
        file.write(HEADER.get(kind, b"") + GOOD.get(kind, b"a\n") * 499)
        for _ in range(100):
            file.write(b"x" * (1 << 20))
        file.write(b"\n" + GOOD.get(kind, b"a\n") * 500)
    started = time.monotonic()
    tracemalloc.start()
    frame = collected(tmp_path, source_of(path, kind))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert counts(frame) == {"too_long": 1} and (kind == "text" or len(frame) == 999)
    assert peak < 20 << 20 and time.monotonic() - started < 15


def test_long_sides_of_formats_without_lines_are_counted(tmp_path: Path) -> None:
    long = "长" * 400
    contents = {
        "tmx": BLANK_TMX.format(UNIT.format("a") * 99 + UNIT.format(long * 3)).encode(),
        "gettext": ("".join(f'msgid "{n}"\nmsgstr "x"\n\n' for n in range(99)) + f'msgid "{long}"\nmsgstr "x"\n').encode(),
        "parquet": b"",
    }
    pq.write_table(pa.table({"source": ["a"] * 99 + [long], "target": ["x"] * 100}), tmp_path / "parquet")
    for kind, content in contents.items():
        if content:
            (tmp_path / kind).write_bytes(content)
        frame = collected(tmp_path, source_of(tmp_path / kind, kind), max_row_bytes=1000)
        assert len(frame) == 99 and counts(frame) == {"too_long": 1}, kind


def test_a_long_line_of_a_csv_that_ends_inside_quotes_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b'source,target\n"' + b"a" * 2000 + b"\na,b\n")
    assert "x:2: longer than collect.max_row_bytes, 1000" in refusal(tmp_path, source_of(tmp_path / "x", "csv"), max_row_bytes=1000)


def test_bombs_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader_files, "_EXPANSION_FLOOR_BYTES", 1 << 16)
    texts = pa.DictionaryArray.from_arrays(pa.array([0] * 2000, pa.int32()), ["a" * 1_000_000])
    table = pa.table({"source": texts, "target": ["b"] * 2000})
    pq.write_table(table, tmp_path / "p", compression="zstd")
    assert (tmp_path / "p").stat().st_size < 100_000
    assert "p: unpacks to over 100 times its size" in refusal(tmp_path, source_of(tmp_path / "p", "parquet"))
    (tmp_path / "g").write_bytes(gzip.compress(b"a\tb\n" * 2_000_000))
    assert "g: unpacks to over 100 times its size" in refusal(tmp_path, source_of(tmp_path / "g", "text"))


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_a_bomb_of_short_lines_is_refused_after_few_of_them(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    """Whatever follows: compared with the whole file, millions of lines would be parsed before they are too many for its size."""
    start = HEADER["tsv"] + GOOD["tsv"] * 1_000_000
    (tmp_path / "g").write_bytes(pack(start) + os.urandom(1 << 20))
    reading = Reading(SourceFile("g", tmp_path / "g"), source_of(tmp_path / "g", "tsv"), "en", "zh", 1000)
    rows = 0
    with pytest.raises(UserError, match="g: unpacks to over 100 times its size"):
        for _ in read_tsv(reading):
            rows += 1
    assert rows < 700_000


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("count", "length", "message"),
    [(1000, 1000, "its entries are longer than the file"), (1 << 31, 1, "is cut"), (0xFFFFFFFF, 0xFFFFFFFF, "is cut")],
)
def test_a_catalog_that_states_one_text_many_times_is_refused(tmp_path: Path, order: str, count: int, length: int, message: str) -> None:
    table = struct.pack(f"{order}2I", length, 28) * 1000
    (tmp_path / "x").write_bytes(struct.pack(f"{order}7I", 0x950412DE, 0, count, 28, 28, 0, 28) + table)
    assert f"x: not a readable gettext catalog ({message})" in refusal(tmp_path, source_of(tmp_path / "x", "gettext"))


def test_a_file_too_large_to_be_read_as_a_whole_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader_files, "MAX_WHOLE_BYTES", 1 << 20)
    (tmp_path / "x").write_bytes(b" " * (2 << 20))
    for kind in ("squad", "gettext"):
        assert "x: has more than 1 MiB. Split it, and name the parts" in refusal(tmp_path, source_of(tmp_path / "x", kind))


def make_link_loop(path: Path) -> None:
    path.symlink_to(path)


PLACES: list[tuple[str, Callable[[Path], object], str]] = [
    ("gone", lambda path: None, "gone: no such file"),
    ("folder", lambda path: path.mkdir(), "folder: is a folder. Name a file in collect.sources"),
    ("loop", make_link_loop, "loop: a broken link, or a link to itself"),
    ("dangling", lambda path: path.symlink_to("nowhere"), "dangling: a broken link"),
    ("pipe", os.mkfifo, "pipe: not a regular file"),
    ("*.tsv", lambda path: None, r"*.tsv: matches no file"),
    ("line\nend", lambda path: None, r"line\nend: no such file"),
    ("**a", lambda path: None, "**a: "),
]


@pytest.mark.parametrize(("name", "make", "message"), PLACES, ids=[name for name, _, _ in PLACES])
@pytest.mark.parametrize("kind", READERS)
def test_a_place_without_a_file_is_named(tmp_path: Path, kind: str, name: str, make: Callable[[Path], object], message: str) -> None:
    make(tmp_path / name)
    assert message in refusal(tmp_path, source_of(tmp_path / name, kind))


@pytest.mark.parametrize("name", ["a b.tsv", "a\nb.tsv", "-rf.tsv", 'it\'s "q".tsv', "e\u0301.tsv", "[x]*.tsv", "文件.tsv"])
def test_odd_names_of_files_work(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name).write_bytes(b"source\ttarget\na\tx\n")
    frame = collected(tmp_path, SourceSettings("tsv", path=name))
    assert len(frame) == 1 and frame["origin"][0] == name.replace("\n", "\\n")
    assert frame["origin"][0].isprintable()


def test_a_pattern_leaves_out_hidden_files_folders_and_what_dvc_keeps_and_does_not_run_in_circles(tmp_path: Path) -> None:
    for name in ("b.tsv", "a.tsv", ".hidden.tsv", "deep/c.tsv", "a.tsv.dvc"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(f"source\ttarget\n{name}\tx\n".encode())
    (tmp_path / "d.tsv").mkdir()
    (tmp_path / "deep" / "round").symlink_to(tmp_path)
    assert collected(tmp_path, SourceSettings("tsv", path=f"{tmp_path}/*.tsv*"))["source"].tolist() == ["a.tsv", "b.tsv"]
    assert collected(tmp_path, SourceSettings("tsv", path=f"{tmp_path}/**/*.tsv"))["source"].tolist() == ["a.tsv", "b.tsv", "deep/c.tsv"]


def test_aligned_patterns_name_a_file_without_a_partner(tmp_path: Path) -> None:
    for name in ("a.en", "b.en", "a.zh"):
        (tmp_path / name).write_bytes(b"x")
    settings = {"path": f"{tmp_path}/*.en", "target_path": f"{tmp_path}/*.zh"}
    assert "b.zh: no such file" in refusal(tmp_path, SourceSettings("lines", **settings))
    (tmp_path / "b.en").unlink()
    (tmp_path / "c.zh").write_bytes(b"x")
    assert "c.zh: no file that matches" in refusal(tmp_path, SourceSettings("lines", **settings))
    two = SourceSettings("lines", path=f"{tmp_path}/*.e*", target_path=f"{tmp_path}/*.zh")
    assert "has one * in path and one in target_path" in refusal(tmp_path, two)


def test_a_zip_file_with_a_wrong_checksum_is_no_source(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x", "w") as archive:
        archive.writestr("a.po", 'msgid "a"')
    assert "x:" in refusal(tmp_path, source_of(tmp_path / "x", "gettext"))


def test_a_catalog_whose_text_is_the_name_of_a_file_is_not_taken_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("secret.po").write_text('msgid "secret"\nmsgstr "x"\n')
    Path("x").write_text("secret.po")
    assert "x: not a readable gettext catalog" in refusal(tmp_path, source_of(Path("x"), "gettext"))


def test_names_of_special_tokens_pass_as_text(tmp_path: Path) -> None:
    names = ["<s>", "</s>", "<unk>", "<pad>", "▁", "<0x41>"]
    (tmp_path / "x").write_text("source\ttarget\n" + "".join(f"a {name}\t{name}\n" for name in names), encoding="utf-8")
    assert collected(tmp_path, source_of(tmp_path / "x", "tsv"))["target"].tolist() == names
