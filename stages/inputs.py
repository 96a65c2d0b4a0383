"""What a stage's result depends on, as DVC sees it: the key that ties an MLflow run to an entry of dvc.lock."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dvc.dependency.param import ParamsDependency
from dvc.repo import Repo


@dataclass(frozen=True)
class StageInputs:
    """files: MD5 of every file that the stage depends on, by path. key: of the command, these files and the params."""

    files: dict[str, str]
    key: str


def stage_inputs(stage: str) -> StageInputs:
    """The inputs of a stage that is about to run. Directories are left out: DVC hashes them in its own way."""
    with Repo() as repo:
        definition = repo.stage.get_target(stage)
        paths = [dependency.def_path for dependency in definition.deps if not isinstance(dependency, ParamsDependency)]
        params = {name: value for dependency in definition.params for name, value in dependency.read_params().items()}
        command = definition.cmd
    files = {path: _md5(Path(path)) for path in paths if Path(path).is_file()}
    return StageInputs(files, _key(command, files, params))


def locked_inputs(entry: Mapping[str, Any]) -> StageInputs:
    """The inputs that an entry of dvc.lock was made from."""
    files = {dep["path"]: dep["md5"] for dep in entry.get("deps", []) if not dep["md5"].endswith(".dir")}
    params = {name: value for values in entry.get("params", {}).values() for name, value in values.items()}
    return StageInputs(files, _key(entry["cmd"], files, params))


def _key(command: str, files: Mapping[str, str], params: Mapping[str, Any]) -> str:
    content = json.dumps([command, dict(files), dict(params)], sort_keys=True)
    return hashlib.sha256(content.encode("utf-8")).hexdigest()


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()
