"""Read dvc.lock as a list of stages."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from dvc.repo import Repo
from ruamel.yaml import YAML

from textmill.pipeline.inputs import locked_inputs
from textmill.track.locked_stage import LockedStage


def locked_stages(lock_file: Path, leave_out: str) -> list[LockedStage]:
    """Return the entries of dvc.lock, except `leave_out`, and except stages that are no longer in dvc.yaml, such as removed folds."""
    with Repo() as repo:
        present = {stage.addressing for stage in repo.index.stages}
    entries = YAML(typ="safe").load(lock_file.read_text(encoding="utf-8"))["stages"]
    return [
        LockedStage(
            name=name,
            inputs_key=locked_inputs(entry).key,
            entry_hash=hashlib.sha256(json.dumps(entry, sort_keys=True).encode("utf-8")).hexdigest(),
            outputs={out["path"]: out["md5"] for out in entry.get("outs", [])},
            params={key: value for values in entry.get("params", {}).values() for key, value in values.items()},
        )
        for name, entry in entries.items()
        if name in present and name != leave_out
    ]
