"""A disk that is full under DVC's cache, and what the next rebuild makes of it. Needs Linux with namespaces of users: no root, no real disk."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
SIZE = 400_000  # of each of the four files that `make` writes: two of them have room in a cache of a megabyte
WRITER = f"""
import sys
from pathlib import Path
from textmill.base.files import write_bytes
with Path("ran").open("a") as ran:
    ran.write(sys.argv[1] + "\\n")
word = Path("in.txt").read_bytes()
for number in range(4):
    write_bytes(Path(f"{{sys.argv[1]}}{{number}}"), word * ({SIZE} // len(word)) + bytes([number]))
"""
# In a namespace of its own: the mount is nobody else's, and goes with the process.
DISK = """
mount -t tmpfs -o size=1m tmpfs .dvc/cache || exit 77
python -m textmill repro > full.log 2>&1; echo $? > full.code
cp dvc.lock full.lock 2> /dev/null
find .dvc/cache/runs -type f > full.runs
mount -o remount,size=64m .dvc/cache
eval "$BEFORE_THE_SECOND"
python -m textmill repro > room.log 2>&1; echo $? > room.code
rm -rf made* && python -m dvc checkout -q; echo $? > checkout.code
cp -r .dvc/cache/files kept
"""


def rebuilt(folder: Path, outputs: str, before_the_second: str = "") -> dict[str, str]:
    """Rebuild on a full disk, do something, make room and rebuild again; everything that this wrote into `folder`, by file."""
    if subprocess.run(["unshare", "-rm", "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("this machine has no namespaces of users")
    (folder / "stage.py").write_text(WRITER)
    (folder / "dvc.yaml").write_text(
        f"stages:\n  make:\n    cmd: python stage.py made{outputs}\n    deps: [in.txt]\n    outs: [{names(outputs)}]\n"
    )
    (folder / "in.txt").write_text("some text ")
    (folder / "params.yaml").write_text("seed: 1\n")
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": f"{Path('src').resolve()}:{Path.cwd()}",
        "BEFORE_THE_SECOND": before_the_second,
    }
    subprocess.run([sys.executable, "-m", "dvc", "init", "-q", "--no-scm"], cwd=folder, check=True)
    (folder / ".dvc/cache").mkdir(exist_ok=True)
    done = subprocess.run(["unshare", "-rm", "sh", "-c", DISK], cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode == 77:
        pytest.skip("this machine lets nobody mount a tmpfs")
    assert done.returncode == 0, done
    return {path.name: path.read_text() for path in [*folder.glob("*.*"), folder / "ran"] if path.is_file()}


def names(outputs: str) -> str:
    return "made" if outputs else ", ".join(f"made{number}" for number in range(4))


def assert_complete(folder: Path, outputs: str, found: dict[str, str]) -> None:
    assert (found["room.code"], found["checkout.code"]) == ("0\n", "0\n"), found["room.log"]
    for number in range(4):
        assert (folder / f"made{outputs}{number}").read_bytes() == b"some text " * (SIZE // 10) + bytes([number])
    kept = [path for path in (folder / "kept").rglob("*") if path.is_file() and not path.name.endswith(".tmp")]
    assert len(kept) == 4 + bool(outputs)
    assert all(hashlib.md5(path.read_bytes()).hexdigest() == path.parent.name + path.name.removesuffix(".dir") for path in kept)


@pytest.mark.parametrize("outputs", ["", "/"], ids=["files", "a folder"])
def test_a_rebuild_on_a_full_disk_is_an_error_and_the_next_one_with_room_is_complete(tmp_path: Path, outputs: str) -> None:
    found = rebuilt(tmp_path, outputs)
    assert found["full.code"] != "0\n" and "Traceback" not in found["full.log"]
    last = found["full.log"].rstrip().split("\n")[-1]
    if outputs:  # dvc itself exits with 0, and has locked a folder of which half is not in its cache
        assert "made" in found["full.lock"]
        assert last.startswith("repro: after the run the workspace differs from dvc.lock in make. If the disk is full,")
    else:
        assert "full.lock" not in found
        assert last == "ERROR: failed to reproduce 'make': [Errno 28] No space left on device"
    assert_complete(tmp_path, outputs, found)


@pytest.mark.parametrize("outputs", ["", "/"], ids=["files", "a folder"])
def test_what_the_run_cache_has_of_a_rebuild_on_a_full_disk_is_not_believed(tmp_path: Path, outputs: str) -> None:
    """Without dvc.lock and outputs, DVC knows the stage only from its run cache."""
    found = rebuilt(tmp_path, outputs, "rm -rf dvc.lock made*")
    assert len(found["full.runs"].split()) == 1, "no entry: then this test shows nothing"
    assert found["ran"] == f"made{outputs}\n" * 2
    assert_complete(tmp_path, outputs, found)
