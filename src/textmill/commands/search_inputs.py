"""The inputs of a stage and of all stages before it. They determine which keys can be searched, and the name of the study."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from dvc.dependency.param import ParamsDependency
from dvc.exceptions import DvcException
from dvc.repo import Repo

from textmill.base import paths
from textmill.base.errors import UserError
from textmill.tuning.settings import SearchSettings
from textmill.tuning.space import Dimension, flattened, value_at


@dataclass(frozen=True)
class SearchInputs:
    """The inputs of a stage and of all stages before it.

    files: MD5 of all code and raw data, by path.
    commands: commands of the stages.
    keys: keys of params.yaml, as declared in dvc.yaml.
    pins: package versions.
    outputs: files that the stage itself writes.
    """

    files: dict[str, str]
    commands: list[str]
    keys: set[str]
    pins: dict[str, Any]
    outputs: set[str]


def search_inputs(stage: str) -> SearchInputs:
    """Collect the inputs of `stage` and of all stages before it. Raises UserError if dvc.yaml has no such stage."""
    with Repo() as repo:
        try:
            target, *others = repo.stage.collect(stage)
            stages = repo.stage.collect(stage, with_deps=True)
        except DvcException as error:
            raise UserError(f"tune.yaml: search.stage is {stage}, which cannot be run ({error}).") from None
        if others:
            raise UserError(f"tune.yaml: search.stage is {stage}, which is several stages. Name one, such as {target.name}.")
        written = {out.def_path for each in stages for out in each.outs}
        keys: set[str] = set()
        pins: dict[str, Any] = {}
        files: dict[str, str] = {}
        for dependency in (dependency for each in stages for dependency in each.deps):
            if not isinstance(dependency, ParamsDependency):
                if dependency.def_path not in written | {"params.yaml", "recipes/default.yaml"} and dependency.def_path not in files:
                    files[dependency.def_path] = dependency.get_hash().value
            elif dependency.def_path == paths.SETTINGS.as_posix():
                keys |= set(dependency.params)
            else:
                pins |= dependency.read_params()
        commands = sorted(each.cmd for each in stages if each.cmd)
        return SearchInputs(files, commands, keys, pins, {out.def_path for out in target.outs})


def require_reach(inputs: SearchInputs, keys: Iterable[str], stage: str) -> None:
    """Raise UserError for a key that `stage` does not depend on, because all trials would have the same result."""
    for key in keys:
        if not any(key == known or key.startswith(f"{known}.") or known.startswith(f"{key}.") for known in inputs.keys):
            raise UserError(f"tune.yaml: space.{key} does not change {stage}. Name a later stage in search.stage, or remove the key.")


def study_name(search: SearchSettings, space: Mapping[str, Dimension], inputs: SearchInputs, params: Any) -> str:
    """Return a name that changes whenever the values of trials are no longer comparable.

    params: the content of params.yaml with all defaults.
    It depends on code, data, package versions, the space, the metric, its direction, and all params of the stage outside the space.
    It does not depend on the number of trials, or on the settings of the sampler and the pruner.
    """
    fixed: dict[str, Any] = {}
    for known in inputs.keys:
        value = value_at(params, known)
        fixed |= dict(flattened(value, f"{known}.")) if isinstance(value, dict | list) else {known: value}
    fixed = {key: value for key, value in fixed.items() if not any(key == each or key.startswith(f"{each}.") for each in space)}
    dimensions = {key: dimension.description() for key, dimension in space.items()}
    asked = [search.stage, search.metric, search.direction, search.per_text]
    content = [*asked, dimensions, fixed, inputs.files, inputs.commands, inputs.pins]
    return f"{search.stage}-{hashlib.sha256(json.dumps(content, sort_keys=True).encode('utf-8')).hexdigest()[:12]}"
