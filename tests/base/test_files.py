from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
import torch
from safetensors.torch import save_file

from textmill.base.errors import UserError
from textmill.base.files import read_json, remove_unfinished, replacing, write_json, write_text
from textmill.base.tables import read_table, write_table
from textmill.base.tensors import read_metadata, read_tensors, write_tensors
from textmill.encode.encoded_corpus import EncodedCorpus
from textmill.model.interface import Seq2SeqModel
from textmill.model.weights import save_model
from textmill.tokenizer.tokenizer import Tokenizer
from textmill.train.checkpoints import CheckpointFile

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
    """RLIMIT_FSIZE simulates a full disk. Without our writer, pyarrow deletes the old file, and plain writes truncate it."""
    path = tmp_path / f"out.{kind}"
    program = f"""
import resource, sys
from pathlib import Path
import pandas as pd, pyarrow as pa, torch, random
from textmill.base.files import write_json
from textmill.base.tables import write_table
from textmill.base.tensors import write_tensors
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


def test_the_next_clean_up_removes_all_files_of_a_writer_that_the_kernel_killed(tmp_path: Path) -> None:
    """SIGXFSZ with its default action ends the process at the size limit, inside safetensors, while its own temporary file is open."""
    path = tmp_path / "out.safetensors"
    write_tensors(path, {"a": torch.zeros(10)}, {})
    before = path.read_bytes()
    program = f"""
import resource, signal, torch
from pathlib import Path
from textmill.base.tensors import write_tensors
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
        "import sys, torch; from pathlib import Path; from textmill.base.tensors import write_tensors;"
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


def test_any_flipped_bit_in_a_file_of_tensors_is_noticed(tmp_path: Path) -> None:
    """Every byte of the header (names, types, shapes, metadata, the digests themselves) and of the tensors."""
    path = tmp_path / "t.safetensors"
    write_tensors(path, {"a": torch.arange(6, dtype=torch.int32), "b": torch.rand(3).bfloat16()}, {"steps": [1, 2], "name": "x"})
    good = path.read_bytes()
    for place in range(len(good)):
        path.write_bytes(good[:place] + bytes([good[place] ^ 1 << place % 8]) + good[place + 1 :])
        with pytest.raises(UserError, match=r"t\.safetensors: damaged, or not a file of this version of textmill"):
            read_tensors(path)


def test_a_flipped_bit_in_metadata_is_noticed_without_reading_tensors(tmp_path: Path) -> None:
    path = tmp_path / "t.safetensors"
    write_tensors(path, {"a": torch.zeros(2)}, {"history": [17]})
    assert read_metadata(path) == {"history": [17]}
    path.write_bytes(path.read_bytes().replace(b"[17]", b"[16]"))
    with pytest.raises(UserError, match="the SHA-256 of its metadata is wrong"):
        read_metadata(path)


def test_a_file_of_tensors_without_a_digest_is_not_read(tmp_path: Path) -> None:
    for number, metadata in enumerate((None, {"other": "{}"}, {"textmill": json.dumps({"shape": {}})})):
        path = tmp_path / f"{number}.safetensors"
        save_file({"a": torch.zeros(2)}, path, metadata=metadata)
        with pytest.raises(UserError, match=rf"{number}\.safetensors: .+ has no SHA-256"):
            read_tensors(path)


def test_tensors_and_metadata_of_every_kind_come_back(tmp_path: Path) -> None:
    written = {
        "transposed": torch.rand(3, 4).t(),
        "scalar": torch.tensor(3),
        "empty": torch.zeros(0, 2),
        "truths": torch.tensor([True, False]),
        "short": torch.rand(3).bfloat16(),
        "bytes": torch.arange(5, dtype=torch.uint8),
    }
    metadata = {
        "by number": {10: "a", 2: "b"},
        "pair": (1, 2),
        "none": None,
        "text": "ü\u2028",
        "not a number": float("nan"),
        "small": 1e-45,
    }
    write_tensors(tmp_path / "t.safetensors", written, metadata)
    tensors, found = read_tensors(tmp_path / "t.safetensors")
    assert tensors.keys() == written.keys() and all(torch.equal(tensors[name], written[name]) for name in written)
    assert json.dumps(found, sort_keys=True) == json.dumps(json.loads(json.dumps(metadata)), sort_keys=True)


_CUT_AT_TWENTY_LENGTHS = """
import sys
from pathlib import Path
from textmill.base.errors import UserError
from textmill.base.files import read_json
from textmill.model.weights import load_model
from textmill.base.tables import num_rows, read_batches, read_table
from textmill.base.tensors import read_metadata, read_tensors
from textmill.encode.encoded_corpus import EncodedCorpus
from textmill.tokenizer.tokenizer import Tokenizer
readers = {
    "table": [read_table, num_rows, lambda path: list(read_batches(path, 10))],
    "tensors": [read_tensors, read_metadata],
    "corpus": [EncodedCorpus.load],
    "model": [load_model],
    "tokenizer": [Tokenizer.load],
    "json": [read_json],
}
for name, each in readers.items():
    path = Path(name)
    whole = path.read_bytes()
    for read in each:
        read(path)
    for length in sorted({0, 1, 4, 9, len(whole) - 8, len(whole) - 2, *(len(whole) * part // 15 for part in range(1, 15))}):
        path.write_bytes(whole[:length])
        for read in each:
            print(name, length, end=": ", flush=True)  # the last words of a process that ends inside a library
            try:
                read(path)
            except UserError as error:
                print("named" if str(error).startswith(f"{name}: ") and "\\n" not in str(error) else f"other message {error!r}")
            else:
                print("read")
"""


def test_a_file_that_is_cut_anywhere_is_named(tmp_path: Path, corpus: EncodedCorpus, tokenizer: Tokenizer, model: Seq2SeqModel) -> None:
    """Runs in a child process, because a crash inside a library would end this one."""
    write_table(tmp_path / "table", pd.DataFrame({"text": [f"line {number}" for number in range(500)]}), SCHEMA)
    write_tensors(tmp_path / "tensors", {"a": torch.rand(50), "b": torch.arange(9)}, {"steps": [1, 2]})
    corpus.save(tmp_path / "corpus")
    save_model(tmp_path / "model", model)
    tokenizer.save(tmp_path / "tokenizer")
    write_json(tmp_path / "json", {"scores": [{"name": f"ü{number}", "score": number / 7} for number in range(20)]})
    done = subprocess.run(
        [sys.executable, "-c", _CUT_AT_TWENTY_LENGTHS], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=3600
    )
    lines = done.stdout.splitlines()
    assert done.returncode == 0, (lines[-1:], done.stderr[-2000:])
    assert not [line for line in lines if not line.endswith(": named")]
    assert len(lines) == 20 * 9


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
@pytest.mark.parametrize("read", [read_json, read_table, read_tensors, read_metadata, Tokenizer.load])
def test_a_pipe_and_a_folder_are_refused_and_not_waited_for(
    tmp_path: Path, read: Callable[[Path], object], make: Callable[[Path], None]
) -> None:
    make(tmp_path / "x")
    signal.signal(signal.SIGALRM, lambda *_: pytest.fail("it waits for a writer"))
    signal.alarm(30)
    try:
        with pytest.raises(UserError, match=r"x: not a regular file\. Remove it"):
            read(tmp_path / "x")
    finally:
        signal.alarm(0)


def crafted(header: object, data: bytes = b"\0" * 8) -> bytes:
    """Return a safetensors file. header: a value to write as JSON, or raw bytes."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def tensor(start: int = 0, end: int = 8, shape: tuple[int, ...] = (2,), dtype: str = "F32") -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


META = {"__metadata__": {"textmill": "{}"}}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        (1 << 63).to_bytes(8, "little") + b"{}",
        (101 << 20).to_bytes(8, "little") + b"{}",
        crafted(META | {"a": tensor(), "b": tensor()}),
        crafted(META | {"a": tensor(4, 8, (1,))}),
        crafted(META | {"a": tensor()}, b"\0" * 9),
        crafted(META | {"a": tensor()}, b"\0" * 7),
        crafted(META | {"a": tensor(shape=(1 << 62, 1 << 62))}),
        crafted(META | {"a": tensor(shape=(3,))}),
        crafted(META | {"a": tensor(dtype="X9")}),
        crafted(b'{"a": ' + b"[" * 100_000),
        crafted({"a": tensor()}),
        crafted({"__metadata__": {"textmill": "[]"}, "a": tensor()}),
        crafted({"__metadata__": {"textmill": "[" * 100_000}, "a": tensor()}),
        crafted({"__metadata__": {"textmill": "{"}, "a": tensor()}),
    ],
)
def test_crafted_tensors_are_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(UserError, match=r"^[^\n]*x: damaged, or not a file of this version of textmill [^\n]*$"):
        read_tensors(tmp_path / "x")


@pytest.mark.parametrize("read", [read_tensors, read_metadata])
def test_metadata_that_is_not_a_mapping_is_refused_even_with_the_right_digest(tmp_path: Path, read: Callable[[Path], object]) -> None:
    write_tensors(tmp_path / "x", {"a": torch.zeros(2)}, ["no", "mapping"])  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"its metadata is not a mapping"):
        read(tmp_path / "x")


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
