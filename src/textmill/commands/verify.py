"""Check that the pipeline is reproducible and survives being killed. This takes minutes on toy data, hours with --full.

The command makes three fresh clones, in paths of different length, each with an empty cache:

1. The first runs undisturbed.
2. The second runs undisturbed too. Its outputs are hard links into the cache, which a stage that writes in place would damage.
3. The third is killed at random times, with SIGKILL to its whole process group, and restarted until it finishes.

All three must have the same dvc.lock, byte for byte, and every object in their caches must match the hash in its name.

--full: use the default corpus and settings, as committed, instead of the toy data of tests/pipeline.
--seed: random seed for the times of the kills.
--folder: folder for the clones, which are kept. By default they are in a temporary folder, which is removed.

On toy data, TEXTMILL_TRACKING=off saves about half of the time.
"""

from __future__ import annotations

import importlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from textmill.base.files import md5_of, sha256_of
from textmill.commands.asking import DVC

_MIN_SECONDS = 0.5
_FIRST_SHARE = 0.3  # the first kill comes within this share of the time of the undisturbed run
_PATIENCE = 1.25  # after each kill, the longest time until the next grows by this factor, so that the clone finishes


class Outcome(NamedTuple):
    """The result of one clone.

    kills: number of times that it was killed.
    lock: SHA-256 of dvc.lock.
    bad_objects: number of objects in the cache that do not match their name.
    """

    name: str
    seconds: float
    kills: int
    lock: str
    bad_objects: int


def main(full: bool, seed: int | None, folder: Path | None) -> int:
    seed = random.randrange(1 << 16) if seed is None else seed
    if folder is not None:
        return verify(full, seed, folder.resolve())
    with tempfile.TemporaryDirectory(prefix="textmill-verify-") as temporary:
        return verify(full, seed, Path(temporary).resolve())


def verify(full: bool, seed: int, folder: Path) -> int:
    clones = [_clone(folder / name, full) for name in ("first", "second-with-a-longer-path", "killed")]
    subprocess.run([*DVC, "config", "--local", "cache.type", "hardlink,copy"], cwd=clones[1], check=True)
    rng = random.Random(seed)
    outcomes = [_run(clones[0], None, rng), _run(clones[1], None, rng)]
    outcomes.append(_run(clones[2], outcomes[0].seconds * _FIRST_SHARE, rng))
    return _report(outcomes, seed)


def _clone(path: Path, full: bool) -> Path:
    if full:
        subprocess.run(["git", "clone", "-q", ".", str(path)], check=True)
        return path
    sys.path[:0] = ["tests", "tests/pipeline"]
    return Path(importlib.import_module("test_pipeline").make_clone(path))


def _run(clone: Path, longest: float | None, rng: random.Random) -> Outcome:
    """Run the pipeline of a clone until it finishes. longest: largest number of seconds until the first kill; None never kills."""
    started, kills = time.monotonic(), 0
    log = clone.parent / f"{clone.name}.log"
    while (code := _repro(clone, log, None if longest is None else rng.uniform(_MIN_SECONDS, longest))) is None:
        assert longest is not None
        kills, longest = kills + 1, longest * _PATIENCE
        print(f"verify: {clone.name}: kill {kills}", flush=True)
    if code:
        tail = log.read_text(encoding="utf-8", errors="replace")[-3000:]
        raise SystemExit(f"verify: {clone.name}: `textmill repro` ended with exit code {code} after {kills} kills:\n{tail}")
    lock = sha256_of(clone / "dvc.lock")
    print(f"verify: {clone.name}: done", flush=True)
    return Outcome(clone.name, time.monotonic() - started, kills, lock, len(_bad_objects(clone)))


def _repro(clone: Path, log: Path, seconds: float | None) -> int | None:
    """Run the pipeline once. Returns its exit code, or None if it was killed after `seconds`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "TEXTMILL_REBUILD", "DVC_", "MAKE"))}
    environment = kept | {"PYTHONPATH": f"{clone}:{clone / 'src'}", "DVC_NO_ANALYTICS": "1"}
    command = [sys.executable, "-m", "textmill", "repro"]
    with log.open("ab") as output:
        process = subprocess.Popen(command, cwd=clone, env=environment, stdout=output, stderr=output, start_new_session=True)
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        return None
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _bad_objects(clone: Path) -> list[Path]:
    """Return the files in DVC's cache whose content does not have the MD5 in their name."""
    files = [path for path in (clone / ".dvc/cache/files/md5").glob("??/*") if len(path.name.removesuffix(".dir")) == 30]
    return [path for path in files if path.parent.name + path.name.removesuffix(".dir") != md5_of(path)]


def _report(outcomes: list[Outcome], seed: int) -> int:
    print(f"{'clone':28}{'minutes':>8}{'kills':>7}{'bad objects':>13}  dvc.lock (SHA-256)")
    for each in outcomes:
        print(f"{each.name:28}{each.seconds / 60:8.1f}{each.kills:7}{each.bad_objects:13}  {each.lock[:16]}")
    if not outcomes[-1].kills:
        raise SystemExit("verify: the third clone finished before it was killed. Run it again.")
    same = len({each.lock for each in outcomes}) == 1 and not any(each.bad_objects for each in outcomes)
    print("verify: all clones are identical" if same else f"verify: the clones DIFFER (--seed {seed})")
    return 0 if same else 1
