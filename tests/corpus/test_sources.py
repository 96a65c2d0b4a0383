from __future__ import annotations

import gzip
import hashlib
import json
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from textmill.corpus.sources import READERS, read_sources
from textmill.errors import UserError
from textmill.settings.corpus import CollectSettings, SourceSettings

PO = """msgid ""
msgstr "Content-Type: text/plain; charset=UTF-8\\n"

msgid "Open"
msgstr "打开"

#, fuzzy
msgid "Close"
msgstr "错"

#~ msgid "Old"
#~ msgstr "旧"

msgid "One %d file"
msgid_plural "%d files"
msgstr[0] "%d 个文件"
"""


def collect(*sources: SourceSettings) -> CollectSettings:
    return CollectSettings("en", "zh", list(sources))


def pairs_of(tmp_path: Path, source: SourceSettings) -> list[tuple[str, str]]:
    frame, metrics = read_sources(collect(source), tmp_path / "wheels")
    assert metrics["rows"] == len(frame) and frame["id"].is_unique
    return list(zip(frame["source"], frame["target"], strict=True))


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("jsonl", '{"source": "a\\u2028b", "target": "x"}\r\n{"source": "c", "target": "y\\u0085\\u000b"}\n'),
        ("csv", 'source,target\n"a\u2028b",x\nc,"y\u0085\x0b"\n'),
        ("tsv", "source\ttarget\r\na\u2028b\tx\r\nc\ty\u0085\x0b\n"),
    ],
)
@pytest.mark.parametrize("is_packed", [False, True])
def test_formats_give_the_same_pairs_and_split_on_newlines_only(tmp_path: Path, kind: str, content: str, is_packed: bool) -> None:
    path = tmp_path / f"file.{kind}"
    data = ("\ufeff" + content).encode()
    path.write_bytes(gzip.compress(data) if is_packed else data)
    assert pairs_of(tmp_path, SourceSettings(kind, path=str(path))) == [("a\u2028b", "x"), ("c", "y\u0085\x0b")]  # type: ignore[arg-type]


def test_a_lone_quote_in_a_tsv_is_a_character(tmp_path: Path) -> None:
    path = tmp_path / "file.tsv"
    path.write_text('source\ttarget\n"a\tx\nb\ty\n', encoding="utf-8")
    assert pairs_of(tmp_path, SourceSettings("tsv", path=str(path))) == [('"a', "x"), ("b", "y")]


def test_aligned_lines_stay_aligned_over_odd_line_ends(tmp_path: Path) -> None:
    texts = [f"{number} a\u2028b\x85c\x1cd\re" for number in range(50)]
    (tmp_path / "s").write_bytes("\n".join(texts).encode() + b"\n")
    (tmp_path / "t").write_bytes("\n".join(f"{number}" for number in range(50)).encode())
    pairs = pairs_of(tmp_path, SourceSettings("lines", path=str(tmp_path / "s"), target_path=str(tmp_path / "t")))
    assert [source.split(" ")[0] for source, _ in pairs] == [target for _, target in pairs]
    assert len(pairs) == 50


def test_a_catalog_gives_translated_entries_and_the_plural_of_a_language_with_one_form(tmp_path: Path) -> None:
    path = tmp_path / "x.po"
    path.write_text(PO, encoding="utf-8")
    assert pairs_of(tmp_path, SourceSettings("gettext", path=str(path))) == [("Open", "打开"), ("%d files", "%d 个文件")]


def test_rows_that_cannot_be_stored_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    rows = [{"source": "a", "target": "b"}, {"source": 1, "target": "b"}, {"source": None, "target": "b"}]
    path.write_text("\n".join(map(json.dumps, rows)) + '\n{"source": "\\ud800", "target": "b"}\n', encoding="utf-8")
    frame, metrics = read_sources(collect(SourceSettings("jsonl", path=str(path))), tmp_path)
    assert len(frame) == 1
    assert metrics["sources"][0]["skipped"] == {"not_text": 2, "lone_surrogate": 1}


@pytest.mark.parametrize(
    ("kind", "content", "message"),
    [
        ("jsonl", b"", "is empty"),
        ("jsonl", b'{"source": "a"}\n', r":1: field 'target' is missing \(fields: source\)"),
        ("jsonl", b'{"source": "a", "target": "b"}\n{"sour', ":2: not JSON"),
        ("jsonl", b"[1]\n", ":1: must be a JSON object"),
        ("jsonl", b'{"source": "a", "target": "b"}\n\xff\n', ":2: byte 0xff is not UTF-8"),
        ("jsonl", "a".encode("utf-16"), "is UTF-16"),
        ("jsonl", gzip.compress(b'{"source": "a", "target": "b"}\n' * 99)[:-12], "damaged or cut gzip"),
        ("csv", b'source,target\n"a,b\n', "not CSV"),
        ("csv", b"source,target\na\n", ":2: has 1 columns, but the header has 2"),
        ("tsv", b"source\tzh\na\tb\n", ":2: field 'target' is missing"),
        ("tsv", b"source\ttarget\n", "holds no pair"),
        ("parquet", b"PAR1xxxx", "not a readable Parquet file"),
        ("gettext", b'msgid "a\nmsgstr', "not a gettext catalog|damaged gettext"),
    ],
)
def test_a_bad_file_is_one_line_with_file_and_reason(tmp_path: Path, kind: str, content: bytes, message: str) -> None:
    path = tmp_path / "bad file.x"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message) as error:
        read_sources(collect(SourceSettings(kind, path=str(path))), tmp_path)  # type: ignore[arg-type]
    assert "bad file.x" in str(error.value) and "\n" not in str(error.value)


def test_missing_files_and_unequal_line_counts_are_named(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1\n2\n3\n")
    (tmp_path / "b").write_text("1\n2\n")
    for kind in READERS:
        extra = {"target_path": str(tmp_path / "b")} if kind == "lines" else {}
        with pytest.raises(UserError, match="gone: no such file"):
            read_sources(collect(SourceSettings(kind, path=str(tmp_path / "gone"), **extra)), tmp_path)  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"a has 3 lines, but .*b has 2"):
        read_sources(collect(SourceSettings("lines", path=str(tmp_path / "a"), target_path=str(tmp_path / "b"))), tmp_path)


def wheel(path: Path, files: dict[str, str]) -> str:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_wheel_is_read_as_a_zip_file_once_its_hash_is_right(tmp_path: Path) -> None:
    made = tmp_path / "My_App-1.0-py3-none-any.whl"
    sha256 = wheel(made, {"app/locale/zh_Hans/LC_MESSAGES/django.po": PO, "app/locale/de/LC_MESSAGES/django.po": PO, "app/x.py": "boom"})
    fetched: list[Sequence[str]] = []

    def download(wheels: Sequence[str], folder: Path) -> None:
        fetched.append(wheels)
        (folder / made.name).write_bytes(made.read_bytes())

    settings = collect(SourceSettings("gettext", wheel="my-app==1.0", sha256=sha256))
    frame, _ = read_sources(settings, tmp_path / "wheels", download)
    assert frame["source"].tolist() == ["Open", "%d files"]
    assert frame["origin"].unique().tolist() == ["my-app-1.0/app/locale/zh_Hans/LC_MESSAGES/django.po"]
    read_sources(settings, tmp_path / "wheels", download)
    assert fetched == [["my-app==1.0"]], "a wheel that is there is not fetched again"
    (tmp_path / "wheels" / f"{sha256}.whl").write_bytes(b"damaged")
    read_sources(settings, tmp_path / "wheels", download)
    assert len(fetched) == 2, "a damaged one is"
    wrong = collect(SourceSettings("gettext", wheel="my-app==1.0", sha256="0" * 64))
    with pytest.raises(UserError, match=f"wheel my-app==1.0 has sha256 {sha256}, not 000"):
        read_sources(wrong, tmp_path / "wheels", download)


def test_a_corrupted_wheel_with_a_right_hash_and_one_without_catalogs_are_named(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"PK\x03\x04 no zip")
    for content, message in ((b"PK\x03\x04 no zip", "damaged wheel"), (None, "holds no catalog for language zh")):
        path = tmp_path / "w"
        sha256 = wheel(path, {"a.py": ""}) if content is None else hashlib.sha256(content).hexdigest()
        kept = tmp_path / f"{sha256}.whl"
        kept.write_bytes(path.read_bytes() if content is None else content)
        with pytest.raises(UserError, match=message):
            read_sources(collect(SourceSettings("gettext", wheel="app==1", sha256=sha256)), tmp_path)
