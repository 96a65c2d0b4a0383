from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
import torch

from textmill.errors import UserError
from textmill.files import remove_unfinished, replacing, write_json, write_text
from textmill.tables import read_table, write_table
from textmill.tensors import read_tensors, write_tensors
from textmill.training.checkpoints import CheckpointFile

SCHEMA = pa.schema([("text", pa.string())])


def test_a_failed_write_keeps_the_old_file_and_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    write_json(path, {"good": 1})
    before = path.read_bytes()
    with pytest.raises(RuntimeError), replacing(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("kind", ["json", "parquet", "safetensors"])
def test_a_full_disk_keeps_the_old_file(tmp_path: Path, kind: str) -> None:
    """RLIMIT_FSIZE stands in for a full disk: pyarrow deletes the good file and plain writes cut it without our writer."""
    path = tmp_path / f"out.{kind}"
    program = f"""
import resource, sys
from pathlib import Path
import pandas as pd, pyarrow as pa, torch, random
from textmill.files import write_json
from textmill.tables import write_table
from textmill.tensors import write_tensors
def write(size):
    path = Path({str(path)!r})
    texts = [str(random.random()) for _ in range(size)]
    if {kind!r} == "json": write_json(path, texts)
    elif {kind!r} == "parquet": write_table(path, pd.DataFrame({{"text": texts}}), pa.schema([("text", pa.string())]))
    else: write_tensors(path, {{"a": torch.rand(size)}}, {{}})
write(10)
good = Path({str(path)!r}).read_bytes()
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    write(100_000)
except BaseException as error:
    print("failed", type(error).__name__)
assert Path({str(path)!r}).read_bytes() == good, "the good file is gone"
assert len(list(Path({str(tmp_path)!r}).iterdir())) == 1
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "failed" in done.stdout


def test_nothing_of_a_write_that_the_kernel_killed_outlives_the_next_clean_up(tmp_path: Path) -> None:
    """At the size limit, with the signal's default action, the process ends inside safetensors, which has opened a file of its own."""
    path = tmp_path / "out.safetensors"
    write_tensors(path, {"a": torch.zeros(10)}, {})
    before = path.read_bytes()
    program = f"""
import resource, signal, torch
from pathlib import Path
from textmill.tensors import write_tensors
signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
write_tensors(Path({str(path)!r}), {{"a": torch.rand(100_000)}}, {{}})
"""
    done = subprocess.run([sys.executable, "-c", program], check=False)
    assert done.returncode == -signal.SIGXFSZ
    assert len(list(tmp_path.iterdir())) == 2, "the killed writer left nothing: then this test shows nothing"
    remove_unfinished(tmp_path)
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == before


def test_files_get_the_mode_that_the_umask_asks_for(tmp_path: Path) -> None:
    old = os.umask(0o027)
    try:
        write_tensors(tmp_path / "a.safetensors", {"x": torch.zeros(2)}, {"b": 1, "a": 2})
        write_text(tmp_path / "a.txt", "x")
    finally:
        os.umask(old)
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o640}


def test_tensors_with_several_metadata_keys_have_the_same_bytes_in_every_process(tmp_path: Path) -> None:
    program = (
        "import sys, torch; from pathlib import Path; from textmill.tensors import write_tensors;"
        "write_tensors(Path(sys.argv[1]), {'b': torch.ones(3), 'a': torch.zeros(2)}, {'z': 1, 'y': [2], 'x': 'ü'})"
    )
    paths = [tmp_path / f"{number}.safetensors" for number in range(3)]
    for path in paths:
        subprocess.run([sys.executable, "-c", program, str(path)], check=True)
    assert len({path.read_bytes() for path in paths}) == 1
    assert read_tensors(paths[0])[1] == {"z": 1, "y": [2], "x": "ü"}


def test_a_flipped_bit_in_a_table_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    write_table(path, pd.DataFrame({"text": [f"line {number}" for number in range(2000)]}), SCHEMA)
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"t\.parquet: not a readable table"):
        read_table(path)


@pytest.mark.parametrize("share", [0.0, 0.2, 0.6, 0.99])
def test_a_cut_file_is_named(tmp_path: Path, share: float) -> None:
    table, tensors = tmp_path / "t.parquet", tmp_path / "t.safetensors"
    write_table(table, pd.DataFrame({"text": ["a", "b"]}), SCHEMA)
    write_tensors(tensors, {"a": torch.rand(50)}, {})
    for path, read in ((table, read_table), (tensors, read_tensors)):
        path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
        with pytest.raises(UserError, match=path.name):
            read(path)


def test_bytes_reach_the_disk_before_the_name_does_and_the_name_before_the_writer_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []
    fsync, rename = os.fsync, Path.replace

    def watched_fsync(descriptor: int) -> None:
        events.append("fsync of the folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "fsync of the file")
        fsync(descriptor)

    def watched_rename(self: Path, target: Path) -> Path:
        events.append("rename")
        return rename(self, target)

    monkeypatch.setattr(os, "fsync", watched_fsync)
    monkeypatch.setattr(Path, "replace", watched_rename)
    writers = {
        "text": lambda: write_json(tmp_path / "a.json", {"a": 1}),
        "table": lambda: write_table(tmp_path / "a.parquet", pd.DataFrame({"text": ["a"]}), SCHEMA),
        "weights": lambda: write_tensors(tmp_path / "a.safetensors", {"x": torch.zeros(2)}, {}),
        "checkpoint": lambda: CheckpointFile(tmp_path / "checkpoints", "f").save({"x": torch.zeros(2)}, {}),
    }
    for name, write in writers.items():
        events.clear()
        write()
        assert events == ["fsync of the file", "rename", "fsync of the folder"], name
