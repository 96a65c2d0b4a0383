"""Sources that want more memory than there is: one line that names them, or a count, in a process whose memory is limited (RLIMIT_AS)."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

_COLLECT = """
import resource, sys
from pathlib import Path
from collecting import collected, counts
from textmill.base.errors import UserError
from textmill.collect.settings import SourceSettings
kind, megabytes = sys.argv[1], int(sys.argv[2])
Path("small.tsv").write_text("source\\ttarget\\na\\tx\\n")
collected(Path("before"), SourceSettings("tsv", path="small.tsv"))  # loads what is loaded late, and starts Arrow's threads
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (megabytes << 20), resource.RLIM_INFINITY))
try:
    frame = collected(Path("."), SourceSettings(kind, path="x", **({"target_path": "y"} if kind == "lines" else {})))
except UserError as error:
    print(f"refused: {error}")
else:
    print(len(frame), counts(frame))
"""


def collected_with(folder: Path, kind: str, megabytes: int) -> str:
    """What a process with so much memory, beyond what it has when it starts to read, makes of the source `x` in `folder`."""
    path = os.pathsep.join([str(Path("tests").resolve()), str(Path("src").resolve())])
    environment = {**os.environ, "PYTHONPATH": path, "MALLOC_ARENA_MAX": "1"}
    command = [sys.executable, "-c", _COLLECT, kind, str(megabytes)]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.rstrip("\n")


@pytest.mark.parametrize("kind", ["jsonl", "lines"])
def test_a_line_that_is_longer_than_the_memory_is_counted(tmp_path: Path, kind: str) -> None:
    good = {"jsonl": b'{"source": "a", "target": "x"}\n', "lines": b"a\n"}[kind]
    with (tmp_path / "x").open("wb") as file:
        file.write(good * 499)
        file.seek(400 << 20, os.SEEK_CUR)  # a hole: NUL bytes that need no disk
        file.write(b"\n" + good * 500)
    (tmp_path / "y").write_bytes(b"x\n" * 1000)
    assert collected_with(tmp_path, kind, megabytes=200) == "999 {'too_long': 1}"


def five_bytes(number: int) -> bytes:
    """A number as Thrift writes it (zigzag, seven bits a byte), always in five bytes: so one can be put in the place of another."""
    zigzag = (number << 1) ^ (number >> 63)
    return bytes((zigzag >> 7 * place) & 0x7F | (0x80 if place < 4 else 0) for place in range(5))


@pytest.mark.slow
@pytest.mark.parametrize("claimed", [(1 << 31) - 1, 10, -1], ids=lambda claimed: f"claims {claimed}")
def test_a_parquet_page_that_lies_about_its_size_is_refused_in_one_line(tmp_path: Path, claimed: int) -> None:
    """Its footer tells of an ordinary table: only the page, or its checksum, says otherwise."""
    size = 1 << 27  # so large that its number has five bytes
    table = pa.table({"source": ["a" * size], "target": ["x"]})
    pq.write_table(table, tmp_path / "x", use_dictionary=False, write_statistics=False, compression="zstd", write_page_checksum=True)
    content = (tmp_path / "x").read_bytes()
    group = pq.ParquetFile(tmp_path / "x").metadata.row_group(0)
    for told in (group.total_byte_size, group.column(0).total_uncompressed_size):
        assert content.count(five_bytes(told)) == 1
        content = content.replace(five_bytes(told), five_bytes(1000))
    (page,) = (number for number in range(size + 1, size + 100) if five_bytes(number) in content)
    (tmp_path / "x").write_bytes(content.replace(five_bytes(page), five_bytes(claimed)))
    message = collected_with(tmp_path, "parquet", megabytes=512)
    assert message.startswith("refused: x: not a readable Parquet file (") and message.endswith("). Download it again.")
    assert "\n" not in message


def test_an_extension_type_that_holds_a_pickle_is_read_as_text_and_not_run(tmp_path: Path) -> None:
    """pyarrow up to 14.0.0 ran it (CVE-2023-47248)."""
    call = b"cposix\nsystem\n(S'touch " + os.fsencode(tmp_path / "ran") + b"'\ntR."
    metadata = {"ARROW:extension:name": "arrow.py_extension_type", "ARROW:extension:metadata": call}
    schema = pa.schema([pa.field("source", pa.string(), metadata=metadata), pa.field("target", pa.string())])
    pq.write_table(pa.table({"source": ["a"], "target": ["x"]}, schema), tmp_path / "x")
    assert call in base64.b64decode(pq.ParquetFile(tmp_path / "x").metadata.metadata[b"ARROW:schema"])
    assert collected_with(tmp_path, "parquet", megabytes=512) == "1 {}"
    assert not (tmp_path / "ran").exists()
