"""The outputs that DVC has on record, in dvc.lock and in *.dvc files, beside what is in the workspace."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dvc.repo import Repo


@dataclass(frozen=True)
class Output:
    """stage: its name, or the *.dvc file. md5: on record. is_cached: does DVC's cache hold it? out: DVC's own object."""

    stage: str
    path: Path
    md5: str
    is_cached: bool
    out: Any


def recorded_outputs(repo: Repo) -> list[Output]:
    """All outputs that dvc.lock and *.dvc files know, whether they are in the workspace or not."""
    root = Path(repo.root_dir)
    return [
        Output(name_of(stage), Path(out.fs_path).relative_to(root), out.hash_info.value, out.use_cache, out)
        for stage in repo.index.stages
        for out in stage.outs
        if out.hash_info and out.hash_name == "md5" and out.protocol == "local" and Path(out.fs_path).is_relative_to(root)
    ]


def name_of(stage: Any) -> str:
    """Its name, or its *.dvc file; DVC's own `addressing` depends on the working directory."""
    return str(getattr(stage, "name", None) or Path(stage.path).relative_to(stage.repo.root_dir))


def lost_when_replaced(repo: Repo) -> list[Output]:
    """Outputs in the workspace that are neither what is on record nor in DVC's cache: edited, or left by a killed run.

    DVC replaces them without a word. As DVC does, this trusts size and time of a file whose hash it knows.
    """
    present = [output for output in recorded_outputs(repo) if output.path.exists()]
    hashes = {output.path: output.out.get_hash().value for output in present}
    return [
        output for output in present if hashes[output.path] not in (output.md5, None) and not repo.cache.local.exists(hashes[output.path])
    ]
