"""The whole graph, three times, with outputs that are links into DVC's cache: a stage that writes in place would damage what other commits need.

In the first run every stage is watched: none may read a pickle or start another program.
"""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import pytest
from test_pipeline import DVC, change, make_clone, run

pytestmark = pytest.mark.slow
# Python imports it in every process; DVC names the stage in those of stages alone.
_WATCH = """
import os, sys
if "DVC_STAGE" in os.environ:
    def watch(event, arguments, log=os.environ["WATCH_LOG"], stage=os.environ["DVC_STAGE"], open=os.open, write=os.write, close=os.close):
        if event in ("pickle.find_class", "os.system", "os.exec", "os.posix_spawn", "subprocess.Popen"):
            file = open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            write(file, f"{stage}: {event} {arguments[:2]}\\n".encode())
            close(file)
    sys.addaudithook(watch)
    if os.environ["DVC_STAGE"] == "preflight":
        import pathlib, pickle
        pickle.loads(pickle.dumps(pathlib.Path("seen")))
"""


def rerun(clone: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    done = run(clone, *DVC, "repro", *arguments, TEXTMILL_TRACKING="off", **environment)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert all(f"Running stage '{name}'" in done.stdout for name in ("split", "train@0", "export", "report")), (
        "not run: then this shows nothing"
    )
    return done


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone after a run with hard links into its cache; what its stages did is in the file `watched` beside it."""
    folder = tmp_path_factory.mktemp("linked")
    (folder / "hook").mkdir()
    (folder / "hook/sitecustomize.py").write_text(_WATCH)
    (folder / "clone").mkdir()
    clone = make_clone(folder / "clone")
    assert run(clone, *DVC, "config", "--local", "cache.type", "hardlink").returncode == 0
    rerun(clone, PYTHONPATH=f"{folder / 'hook'}:{clone}:{clone / 'src'}", WATCH_LOG=str(folder / "watched"))
    assert (clone / "models/train/0/model.safetensors").stat().st_nlink > 1, "no link: then these tests show nothing"
    return clone


def test_no_stage_reads_a_pickle_or_starts_a_program(watched: Path) -> None:
    seen = (watched.parent / "watched").read_text().splitlines()
    assert {line for line in seen if "'PosixPath'" in line}, "the hook sees nothing: then this test shows nothing"
    assert not [line for line in seen if "'PosixPath'" not in line]


def cached(clone: Path) -> dict[Path, str]:
    """The MD5 of every object in the cache."""
    objects = [path for path in (clone / ".dvc/cache/files/md5").rglob("*") if path.is_file()]
    return {path: hashlib.md5(path.read_bytes()).hexdigest() for path in objects}


def test_runs_over_linked_outputs_leave_the_cache_intact_and_a_forced_one_gives_the_same_lock(watched: Path) -> None:
    """The second run replaces hard links, the third symbolic ones."""
    kept, lock = cached(watched), (watched / "dvc.lock").read_bytes()
    change(watched, lambda params: params.update(seed=params["seed"] + 1))
    assert run(watched, *DVC, "config", "--local", "cache.type", "symlink").returncode == 0
    for force in ([], ["-f"]):
        rerun(watched, *force)
        assert (watched / "models/train/0/model.safetensors").is_symlink()
        before, kept = kept, cached(watched)
        assert kept.items() >= before.items()
        assert not [path for path, md5 in kept.items() if path.parent.name + path.name.removesuffix(".dir") != md5]
        previous, lock = lock, (watched / "dvc.lock").read_bytes()
        assert (lock == previous) == bool(force)
