"""Many sources into one corpus: order, ids, wheels, and what is counted."""

from __future__ import annotations

import hashlib
import itertools
import socket
import struct
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from collecting import collected, counts, pairs

from textmill.base.errors import UserError
from textmill.collect.readers import catalogs
from textmill.collect.settings import SourceSettings
from textmill.collect.wheels import pip_download

PO = 'msgid "Open"\nmsgstr "打开"\n\nmsgid "%d file"\nmsgid_plural "%d files"\nmsgstr[0] "%d 个文件"\n'


def tsv(path: Path, *rows: str, **settings: Any) -> SourceSettings:
    path.write_text("source\ttarget\n" + "".join(f"{row}\tx{row}\n" for row in rows), encoding="utf-8")
    return SourceSettings("tsv", path=str(path), **settings)


def test_ids_and_order_depend_neither_on_the_order_of_sources_nor_on_that_of_files(tmp_path: Path) -> None:
    sources = [
        tsv(tmp_path / "b.tsv", "1", "2", task="b", weight=2.0),
        tsv(tmp_path / "a.tsv", "3", official_split="test"),
        SourceSettings("tsv", path=str(tmp_path / "c-*.tsv")),
    ]
    for name in ("c-2.tsv", "c-1.tsv"):
        tsv(tmp_path / name, name)
    frames = [collected(tmp_path, *order) for order in itertools.permutations(sources)]
    assert all(frame.equals(frames[0]) for frame in frames)
    assert frames[0]["source"].tolist() == ["3", "1", "2", "c-1.tsv", "c-2.tsv"]
    assert frames[0]["task"].tolist() == ["", "b", "b", "", ""]
    assert frames[0]["weight"].tolist() == [1.0, 2.0, 2.0, 1.0, 1.0]
    assert frames[0]["official_split"].tolist() == ["test", "", "", "", ""]
    assert [Path(origin).name for origin in frames[0]["origin"]] == ["a.tsv", "b.tsv", "b.tsv", "c-1.tsv", "c-2.tsv"]


def test_an_id_stays_when_other_sources_come_or_other_lines_change(tmp_path: Path) -> None:
    before = collected(tmp_path, tsv(tmp_path / "m.tsv", "1", "2"))
    after = collected(tmp_path, tsv(tmp_path / "a.tsv", "0"), tsv(tmp_path / "m.tsv", "changed", "2", "3"))
    ids = dict(zip(after["source"], after["id"], strict=True))
    assert ids["2"] == before["id"][1]


def test_one_file_for_two_tasks_has_different_ids_and_twice_for_one_task_is_an_error(tmp_path: Path) -> None:
    there = tsv(tmp_path / "m.tsv", "1", task="there")
    back = SourceSettings("tsv", path=there.path, source_column="target", target_column="source", task="back")
    assert pairs(collected(tmp_path, there, back)) == [("x1", "1"), ("1", "x1")]
    with pytest.raises(UserError, match=r"m\.tsv: two entries of collect\.sources read it for task 'there'"):
        collected(tmp_path, there, back, SourceSettings("tsv", path=str(tmp_path / "*.tsv"), task="there"))


@pytest.mark.parametrize(
    "path", ["file:///etc/hostname", "http://127.0.0.1/x", "http://169.254.169.254/x", "https://example.org/x", "s3://b/x"]
)
def test_a_url_as_a_path_is_a_missing_file_and_nothing_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    monkeypatch.setattr(socket, "socket", lambda *_, **__: pytest.fail("a socket was opened"))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: pytest.fail("a name was looked up"))
    with pytest.raises(UserError, match=r"^[^\n]*no such file[^\n]*$"):
        collected(tmp_path, SourceSettings("tsv", path=path))
    assert not (tmp_path / "out/pairs.parquet").exists()


def test_several_pairs_of_one_line_have_different_ids(tmp_path: Path) -> None:
    (tmp_path / "x").write_text('["a", "b", "c", "d"]\n["e", "f"]\n')
    frame = collected(tmp_path, SourceSettings("conversations", path=str(tmp_path / "x")))
    assert [identity.split("-")[1] for identity in frame["id"]] == ["1", "1.2", "1.3", "2"]


def test_everything_found_is_a_row_or_is_counted_with_its_first_line(tmp_path: Path) -> None:
    lines = ['{"source": "a", "target": "b"}', "", '{"source": 1, "target": "b"}', '{"source": "\\ud800", "target": "b"}', '{"sour']
    (tmp_path / "x").write_text("\n".join(lines))
    frame = collected(tmp_path, SourceSettings("jsonl", path=str(tmp_path / "x")), max_bad_share=0.6)
    assert len(frame) == 1 and counts(frame) == {"blank": 1, "not_text": 1, "lone_surrogate": 1, "not_json": 1}
    bad = frame.attrs["sources"][0]["bad"]
    assert bad["not_text"]["first"] == f"{tmp_path}/x:3: its source is int, not text. Mend or remove the row."


def test_more_bad_rows_than_allowed_are_an_error_that_shows_the_first_and_counts_all(tmp_path: Path) -> None:
    rows = [b"source\ttarget", *[b"%d\tx" % number for number in range(98)], b"\xff\tx", b"\xfe\tx"]
    (tmp_path / "x").write_bytes(b"\n".join(rows))
    source = SourceSettings("tsv", path=str(tmp_path / "x"))
    assert counts(collected(tmp_path, source, max_bad_share=0.02)) == {"not_utf8": 2}
    with pytest.raises(
        UserError, match=r"x:100: byte 0xff is not UTF-8.*\(2 of 100 rows are bad: not_utf8 2; collect\.max_bad_share is 0\.01\)"
    ):
        collected(tmp_path, source)


def test_an_error_leaves_the_earlier_corpus(tmp_path: Path) -> None:
    good = tsv(tmp_path / "a.tsv", *map(str, range(3000)))
    before = collected(tmp_path, good)
    (tmp_path / "z.tsv").write_bytes(b"source\ttarget\n\xff\tx\n")
    with pytest.raises(UserError):
        collected(tmp_path, good, SourceSettings("tsv", path=str(tmp_path / "z.tsv")))
    from textmill.base.tables import read_table

    assert read_table(tmp_path / "out/pairs.parquet").equals(before)


def wheel(path: Path, files: dict[str, str], name: str = "app-1") -> str:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, content in {**files, f"{name}.dist-info/METADATA": ""}.items():
            archive.writestr(member, content)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_wheel_is_read_as_a_zip_file_once_its_hash_is_right(tmp_path: Path) -> None:
    made = tmp_path / "My_App-1.0-py3-none-any.whl"
    sha256 = wheel(
        made, {"app/locale/zh_Hans/LC_MESSAGES/django.po": PO, "app/locale/de/LC_MESSAGES/django.po": PO, "app/x.py": "boom"}, "My_App-1.0"
    )
    fetched: list[Sequence[str]] = []

    def download(wheels: Sequence[str], folder: Path) -> None:
        fetched.append(wheels)
        (folder / made.name).write_bytes(made.read_bytes())

    source = SourceSettings("gettext", wheel="my-app==1.0", sha256=sha256)
    frame = collected(tmp_path, source, download=download)
    assert frame["source"].tolist() == ["Open", "%d files"]
    assert frame["origin"].unique().tolist() == ["my-app-1.0/app/locale/zh_Hans/LC_MESSAGES/django.po"]
    collected(tmp_path, source, download=download)
    assert fetched == [["my-app==1.0"]], "a wheel that is there is not fetched again"
    (tmp_path / "wheels" / f"{sha256}.whl").write_bytes(b"damaged")
    collected(tmp_path, source, download=download)
    assert len(fetched) == 2, "a damaged one is"
    wrong = SourceSettings("gettext", wheel="my-app==1.0", sha256="0" * 64)
    with pytest.raises(UserError, match=f"wheel my-app==1.0 has sha256 {sha256}, not 000"):
        collected(tmp_path, wrong, download=download)


def test_a_corrupted_wheel_with_a_right_hash_and_one_without_catalogs_are_named(tmp_path: Path) -> None:
    (tmp_path / "wheels").mkdir()
    for content, message in ((b"PK\x03\x04 no zip", "damaged wheel"), (None, "contains no catalog for language zh")):
        path = tmp_path / "w"
        sha256 = wheel(path, {"a.py": ""}) if content is None else hashlib.sha256(content).hexdigest()
        (tmp_path / "wheels" / f"{sha256}.whl").write_bytes(path.read_bytes() if content is None else content)
        with pytest.raises(UserError, match=message):
            collected(tmp_path, SourceSettings("gettext", wheel="app==1", sha256=sha256))


@pytest.mark.parametrize("damage", ["half of it", "a wrong CRC", "another byte"])
def test_a_wheel_that_is_damaged_inside_is_named_also_with_the_right_hash(tmp_path: Path, damage: str) -> None:
    with zipfile.ZipFile(tmp_path / "w", "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("app/zh/a.po", PO)
        archive.writestr("app-1.dist-info/METADATA", "")
    content = (tmp_path / "w").read_bytes()
    crc = zlib.crc32(PO.encode()).to_bytes(4, "little")
    assert content.count(crc) == 2, "of the member, and in the table of contents"
    damaged = {
        "half of it": content[: len(content) // 2],
        "a wrong CRC": content.replace(crc, bytes(4)),
        "another byte": content.replace("打开".encode(), "关闭".encode()),
    }[damage]
    (tmp_path / "wheels").mkdir()
    sha256 = hashlib.sha256(damaged).hexdigest()
    (tmp_path / "wheels" / f"{sha256}.whl").write_bytes(damaged)
    with pytest.raises(UserError, match=r"^app(==|-)1: damaged wheel \([^\n]+\)\. Remove [^\n]+ and run again\.$"):
        collected(tmp_path, SourceSettings("gettext", wheel="app==1", sha256=sha256))
    assert not (tmp_path / "out/pairs.parquet").exists()


def kept_wheel(folder: Path, files: dict[str, str], name: str = "app-1") -> SourceSettings:
    """A source app==1 with the hash of a wheel in the folder, whatever its metadata says."""
    (folder / "wheels").mkdir(exist_ok=True)
    sha256 = wheel(folder / "w", files, name)
    (folder / "w").rename(folder / "wheels" / f"{sha256}.whl")
    return SourceSettings("gettext", wheel="app==1", sha256=sha256)


@pytest.mark.parametrize("name", ["app-2", "other-1", "-", "app"])
def test_the_hash_of_another_version_or_package_is_not_enough(tmp_path: Path, name: str) -> None:
    source = kept_wheel(tmp_path, {"app/zh/a.po": PO}, name)
    with pytest.raises(UserError, match=r"the wheel with the sha256 of app==1 is .* according to its metadata\. Correct wheel or sha256"):
        collected(tmp_path, source)


def test_one_wheel_with_two_hashes_is_an_error(tmp_path: Path) -> None:
    source = kept_wheel(tmp_path, {"app/zh/a.po": PO})
    with pytest.raises(UserError, match="wheel app==1 has two hashes"):
        collected(tmp_path, source, replace(source, sha256="0" * 64))


def test_pip_takes_a_wheel_for_a_name_whatever_it_looks_like(tmp_path: Path) -> None:
    """Settings reject such a name earlier. Here, pip itself must not take it for an option, because it would run a setup script."""
    with pytest.raises(UserError, match=r"wheels could not be downloaded \(Invalid requirement: .--only-binary=:none:"):
        pip_download(["--only-binary=:none:,app==1"], tmp_path)


def test_catalogs_that_unpack_to_too_much_together_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogs, "MAX_WHOLE_BYTES", 1 << 20)
    source = kept_wheel(tmp_path, {f"app/zh/{name}.po": PO + " " * (600 << 10) for name in "ab"})
    with pytest.raises(UserError, match=r"app-1: its catalogs unpack to more than 1 MiB at app/zh/b\.po"):
        collected(tmp_path, source)


@pytest.mark.parametrize("claimed", [0, 10, 1 << 31])
def test_the_size_that_a_wheel_claims_for_a_member_is_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, claimed: int) -> None:
    monkeypatch.setattr(catalogs, "MAX_WHOLE_BYTES", 1 << 20)
    size = 3 << 20
    wheel(tmp_path / "w", {"app/zh/a.po": " " * size})
    content = (tmp_path / "w").read_bytes().replace(size.to_bytes(4, "little"), claimed.to_bytes(4, "little"))
    (tmp_path / "wheels").mkdir()
    sha256 = hashlib.sha256(content).hexdigest()
    (tmp_path / "wheels" / f"{sha256}.whl").write_bytes(content)
    with pytest.raises(UserError, match=r"its catalogs unpack to more than 1 MiB|damaged wheel"):
        collected(tmp_path, SourceSettings("gettext", wheel="app==1", sha256=sha256))


def test_names_in_a_wheel_that_point_outside_write_no_file(tmp_path: Path) -> None:
    source = kept_wheel(tmp_path, {"../../zh/a.po": PO, f"{tmp_path}/zh/b.po": PO})
    assert len(collected(tmp_path, source)) == 4
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "wheels"]


@pytest.mark.parametrize("stated", [0, 1, 1_000_001])
def test_a_wheel_of_a_million_members_is_refused_before_its_central_directory_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stated: int
) -> None:
    """All entries of the central directory point to the same empty file, and the count that it states can be wrong."""
    name = b"app/zh/a.po"
    member = struct.pack("<4s5H3I2H", b"PK\x03\x04", 20, 0, 0, 0, 0, 0, 0, 0, len(name), 0) + name
    entry = struct.pack("<4s6H3I5H2I", b"PK\x01\x02", 20, 20, 0, 0, 0, 0, 0, 0, 0, len(name), 0, 0, 0, 0, 0, 0) + name
    entries = entry * 1_000_001
    end = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, min(stated, 0xFFFF), min(stated, 0xFFFF), len(entries), len(member), 0)
    content = member + entries + end
    sha256 = hashlib.sha256(content).hexdigest()
    (tmp_path / "wheels").mkdir()
    (tmp_path / "wheels" / f"{sha256}.whl").write_bytes(content)
    monkeypatch.setattr(zipfile, "ZipFile", lambda *_: pytest.fail("its table of contents was read"))
    with pytest.raises(UserError, match=r"^app==1: contains more than 100000 files, too many to read\. Remove it from collect\.sources\.$"):
        collected(tmp_path, SourceSettings("gettext", wheel="app==1", sha256=sha256))
