"""The outputs that DVC has on record in dvc.lock and in *.dvc files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dvc.repo import Repo


@dataclass(frozen=True)
class Output:
    """An output on record.

    stage: name of the stage, or the *.dvc file.
    md5: hash on record.
    is_cached: whether DVC keeps the output in its cache.
    out: DVC's object.
    """

    stage: str
    path: Path
    md5: str
    is_cached: bool
    out: Any


def recorded_outputs(repo: Repo) -> list[Output]:
    """Return all outputs in dvc.lock and *.dvc files, whether they are in the workspace or not."""
    root = Path(repo.root_dir)
    return [
        Output(name_of(stage), Path(out.fs_path).relative_to(root), out.hash_info.value, out.use_cache, out)
        for stage in repo.index.stages
        for out in stage.outs
        if out.hash_info and out.hash_name == "md5" and out.protocol == "local" and Path(out.fs_path).is_relative_to(root)
    ]


def name_of(stage: Any) -> str:
    """Return the name of a stage, or its *.dvc file. DVC's `addressing` is not used, because it depends on the working directory."""
    return str(getattr(stage, "name", None) or Path(stage.path).relative_to(stage.repo.root_dir))


def lost_when_replaced(repo: Repo) -> list[Output]:
    """Return outputs in the workspace that differ from the record and are not in DVC's cache: edited, or left by a killed run.

    DVC would replace them without notice. Like DVC, this function trusts the size and time of a file whose hash is known.
    """
    present = [output for output in recorded_outputs(repo) if output.path.exists()]
    hashes = {output.path: output.out.get_hash().value for output in present}
    return [
        output for output in present if hashes[output.path] not in (output.md5, None) and not repo.cache.local.exists(hashes[output.path])
    ]
