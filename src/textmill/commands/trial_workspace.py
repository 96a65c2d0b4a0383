"""A copy of the project in which trials run one after the other, with the DVC cache of the project.

The copy has all files that git tracks or would track, with their uncommitted changes. Results of stages come from DVC's cache and
run cache. So a trial runs only the stages that its values change, and later trials reuse their results.
"""

from __future__ import annotations

import fcntl
import filecmp
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from typing import Any

from dvc.repo import Repo
from ruamel.yaml import YAML

from textmill.base import paths
from textmill.base.errors import UserError
from textmill.base.files import write_text
from textmill.commands import dependent_dvc
from textmill.commands.asking import DVC, output_of
from textmill.settings.params_file import params_text
from textmill.tracking.store import tracking_uri

_STAGE_LOCK = Path("dvc.lock")


@contextmanager
def workspace(folder: Path, stage: str) -> Iterator[Path]:
    """Yield the first copy under `folder` that no other process uses, ready to run `stage`. It is created if it does not exist."""
    number = 0
    while True:
        place = folder / f"workspace-{number}"
        place.mkdir(parents=True, exist_ok=True)
        with (folder / f"workspace-{number}.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                number += 1
                continue
            _fill(place)
            command = [*DVC, "checkout", "-q", "--allow-missing", "--with-deps", stage]
            try:
                output_of(*command, folder=place, environment=environment(place))  # the first trial makes what is not in the cache
            except UserError as error:
                print(f"tune: {error}; the first trial makes the missing files", file=sys.stderr, flush=True)
            yield place
            return


def set_params(place: Path, params: Any) -> None:
    """Write the params and initial weights into the copy, and remove files that a killed dvc may have left broken."""
    write_params(place / "params.yaml", params)
    bring_initial_weights(place, params.get("train", {}).get("init_from", ""))
    (place / ".dvc/tmp/rwlock").unlink(missing_ok=True)
    (place / _STAGE_LOCK).unlink(missing_ok=True)
    if _STAGE_LOCK.is_file():
        shutil.copy2(_STAGE_LOCK, place / _STAGE_LOCK)


def read_params(path: Path) -> Any:
    """Read params.yaml with its comments. Raises UserError as `params_text` does."""
    return _yaml().load(params_text(path))


def write_params(path: Path, params: Any, heading: str = "") -> None:
    """Write params.yaml with its comments. heading: comment at the top of the file."""
    text = StringIO()
    _yaml().dump(params, text)
    write_text(path, heading + text.getvalue())


def environment(place: Path) -> Mapping[str, str]:
    """Return the environment for processes in the copy: its own code instead of the installed one, and no MLflow.

    The search itself logs its trials to MLflow.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("DVC_", "TEXTMILL_"))}
    place = place.resolve()
    return kept | {
        "PATH": f"{Path(sys.executable).parent}:{kept.get('PATH', '')}",
        "PYTHONPATH": f"{place}:{place / 'src'}",
        "DVC_NO_ANALYTICS": "1",
        "TEXTMILL_TRACKING": "off",
        "MLFLOW_TRACKING_URI": tracking_uri(),  # for train.init_from, because the store in the copy is empty
        dependent_dvc.PARENT: str(os.getpid()),
    }


def _fill(place: Path) -> None:
    listed = output_of("git", "ls-files", "-co", "--exclude-standard", "-z")
    for name in filter(None, listed.split("\0")):
        if Path(name).is_file() and Path(name) not in (Path("params.yaml"), _STAGE_LOCK):
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(name, place / name)
    with Repo() as repo:
        cache = repo.cache.local_cache_dir
    write_text(place / ".dvc/config.local", f"[core]\n    no_scm = true\n[cache]\n    dir = {cache}\n")
    wheels = place / paths.WHEELS
    if paths.WHEELS.is_dir() and not wheels.exists():  # downloads, which are not an output of a stage
        wheels.parent.mkdir(parents=True, exist_ok=True)
        wheels.symlink_to(paths.WHEELS.resolve())
    set_params(place, read_params(Path("params.yaml")))


def bring_initial_weights(place: Path, init_from: str) -> None:
    """Copy the weights of a relative `train.init_from`, because git does not track them. In the copy, they may be an output of a stage."""
    weights = Path(init_from, "model.safetensors") if Path(init_from).is_dir() else Path(init_from)
    copy = place / weights
    if not init_from or weights.is_absolute() or not weights.is_file() or (copy.is_file() and filecmp.cmp(weights, copy, shallow=False)):
        return
    copy.parent.mkdir(parents=True, exist_ok=True)
    copy.unlink(missing_ok=True)  # it may be a link to DVC's cache
    shutil.copyfile(weights, copy)


def _yaml() -> YAML:
    yaml = YAML()
    yaml.width = 10_000  # no line breaks
    yaml.indent(mapping=2, sequence=4, offset=2)  # as in params.yaml
    return yaml
