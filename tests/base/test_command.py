"""Programs end with one line on an error that the user can fix, on a full disk and on a signal."""

from __future__ import annotations

import resource
import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from dvc.exceptions import DvcException

from textmill.base.command import one_line_errors
from textmill.base.errors import UserError
from textmill.base.files import write_bytes
from textmill.base.tables import PAIR_SCHEMA, TableWriter
from textmill.base.tensors import write_tensors


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (UserError("data.tsv:3: no target."), 2, "clean: data.tsv:3: no target."),
        (MemoryError(), 2, "clean: out of memory."),
        (OSError(28, "No space left on device", "a.parquet"), 2, "clean: a.parquet: No space left on device. Make room and run again"),
        (OSError(28, "No space left on device"), 2, "clean: No space left on device. Make room and run again"),
        (OSError(30, "Read-only file system", "a"), 2, "clean: a: Read-only file system. Use a copy of the project"),
        (PermissionError(13, "Permission denied", b"a"), 2, "clean: a: Permission denied. Change its owner"),
        (sqlite3.OperationalError("database or disk is full"), 2, "clean: DVC's database cannot be written (database or disk is full)."),
        (
            subprocess.CalledProcessError(3, ["dvc", "status"], stderr=b"first\nlast\n"),
            1,
            "clean: `dvc status` failed with exit code 3 (last).",
        ),
        (DvcException("dvc.yaml is\nbroken"), 2, "clean: dvc.yaml is broken"),
        (UserError("no answer of https://user:word@host/"), 2, "clean: no answer of https://***@host/"),
    ],
)
def test_an_error_that_is_not_a_bug_is_one_line(capsys: pytest.CaptureFixture[str], error: BaseException, code: int, line: str) -> None:
    with pytest.raises(SystemExit) as end, one_line_errors("clean"):
        raise error
    said = capsys.readouterr().err
    assert end.value.code == code
    assert said.startswith(line) and said.count("\n") == 1


WRITE_AS_ANOTHER = """
import os, sys
from pathlib import Path
import pandas as pd, pyarrow as pa, torch
from textmill.base.command import one_line_errors
from textmill.base.files import write_json
from textmill.base.tables import write_table
from textmill.base.tensors import write_tensors
writers = [
    lambda path: write_json(path, {}),
    lambda path: write_table(path, pd.DataFrame({"text": ["a"]}), pa.schema([("text", pa.string())])),
    lambda path: write_tensors(path, {"a": torch.zeros(2)}, {}),
]
if os.geteuid() == 0:  # root may write everywhere
    os.setgroups([])
    os.setresgid(65534, 65534, 65534)
    os.setresuid(65534, 65534, 65534)
for write in writers:
    for name in ("out", "below/out"):
        try:
            with one_line_errors("clean"):
                write(Path(sys.argv[1], name))
        except SystemExit as end:
            print(end.code)
"""


def test_a_folder_that_may_not_be_written_is_one_line_with_its_path() -> None:
    with tempfile.TemporaryDirectory() as made:  # not tmp_path: nobody else may enter that
        folder = Path(made)
        (folder / "out").write_text("good")
        folder.chmod(0o555)
        done = subprocess.run([sys.executable, "-c", WRITE_AS_ANOTHER, made], capture_output=True, text=True, check=False)
        assert done.stdout == "2\n" * 6, done.stderr
        lines = done.stderr.splitlines()
        assert len(lines) == 6
        for line in lines:
            assert line.startswith(f"clean: {made}/")
            assert line.endswith(": Permission denied. Change its owner or mode, or run as a user who has access.")
        assert [path.name for path in folder.iterdir()] == ["out"] and (folder / "out").read_text() == "good"


STOPPED = """
import os, signal, sys
from textmill.base.command import one_line_errors
from textmill.base.lifetime import raise_when_stopped
class Late:
    def __del__(self, kill=os.kill, myself=os.getpid()):  # called while Python takes itself down, when it no longer listens
        kill(myself, 15)
late = Late()
print("before", end="")
with one_line_errors("clean"):
    raise_when_stopped()
    os.kill(os.getpid(), int(sys.argv[1]))
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_is_one_line_even_if_another_follows_at_once(number: int, code: int) -> None:
    done = subprocess.run([sys.executable, "-c", STOPPED, str(int(number))], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (code, "before", "clean: stopped.\n")


@pytest.mark.parametrize("error", [ValueError(), FileNotFoundError(2, "a file that we forgot"), sqlite3.OperationalError("no such table")])
def test_a_bug_keeps_its_traceback(error: Exception) -> None:
    with pytest.raises(type(error)), one_line_errors("clean"):
        raise error


def write_rows(path: Path) -> None:
    noise = [bytes(row).decode() for row in np.random.default_rng(0).integers(33, 126, (200, 4000), dtype=np.uint8)]
    rows = pd.DataFrame({field.name: [1] * 200 if field.name in ("line", "weight") else noise for field in PAIR_SCHEMA})
    with TableWriter(path, PAIR_SCHEMA) as writer:
        writer.write(rows)


@pytest.mark.parametrize(
    "write",
    [
        lambda path: write_bytes(path, bytes(1 << 20)),
        lambda path: write_tensors(path, {"a": torch.zeros(1 << 18)}, {}),
        write_rows,
    ],
)
def test_a_write_to_a_full_disk_is_one_line_with_the_file(
    write: Callable[[Path], None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "file"
    path.write_text("earlier")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(SystemExit), one_line_errors("stage"):
            write(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    said = capsys.readouterr().err
    assert said.startswith(f"stage: {path}: File too large. ") and said.count("\n") == 1
    assert [each.name for each in tmp_path.iterdir()] == ["file"] and path.read_text() == "earlier"


def test_the_first_signal_is_one_line_and_those_that_follow_do_not_disturb_the_end() -> None:
    program = (
        "import os, signal\n"
        "from textmill.base.command import one_line_errors\n"
        "from textmill.base.lifetime import raise_when_stopped\n"
        "with one_line_errors('clean'):\n"
        "    raise_when_stopped()\n"
        "    try:\n"
        "        os.kill(os.getpid(), signal.SIGTERM)\n"
        "    finally:\n"
        "        os.kill(os.getpid(), signal.SIGINT); os.kill(os.getpid(), signal.SIGTERM)\n"
        "        print('cleaned up', flush=True)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (128 + signal.SIGTERM, "cleaned up\n", "clean: stopped.\n")
