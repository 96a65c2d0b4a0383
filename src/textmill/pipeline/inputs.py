"""The inputs of a stage as DVC sees them, and a key that links an MLflow run to an entry of dvc.lock.

DVC trusts the size and time of a file, and the mode of an object in its cache. So a damaged file passes `dvc status`, `dvc checkout`
and `dvc repro`. Here every file that a stage reads is hashed, and compared with the hash in dvc.lock or in a *.dvc file.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from dvc.dependency.param import ParamsDependency
from dvc.dvcfile import load_file
from dvc.exceptions import DvcException
from dvc.repo import Repo
from dvc_data.hashfile.build import build
from dvc_data.hashfile.db import HashFileDB

from textmill.base.errors import UserError
from textmill.base.files import md5_of

_LOCK = Path("dvc.lock")
_SECONDS_BETWEEN_LOOKS = 2.0


@dataclass(frozen=True)
class StageInputs:
    """The inputs of a stage.

    files: MD5 of every file that the stage depends on, by path. The hash of a folder ends in `.dir`, as in DVC.
    key: hash of the command, the files and the params.
    has_outputs: whether the stage has outputs.
    params: params that the stage declares, nested as in params.yaml. They come from the completed settings and packages.yaml.
    """

    files: dict[str, str]
    key: str
    has_outputs: bool
    params: dict[str, Any] = field(default_factory=dict, compare=False)


@dataclass(frozen=True)
class Recorded:
    """The hash that DVC has on record for a path.

    where: dvc.lock or a *.dvc file.
    keep: command that accepts an edit.
    """

    md5: str
    where: str
    keep: str


def stage_inputs(stage: str) -> StageInputs:
    """Return the inputs of a stage that is about to run. Raises UserError if a file differs from the hash on record."""
    with Repo() as repo:
        definition, recorded = _on_record(repo, stage)
        dependencies = [each for each in definition.deps if not isinstance(each, ParamsDependency)]
        files = {each.def_path: content_md5(repo, Path(each.def_path)) for each in dependencies if each.exists}
        watched = dict(files)
        for folder in filter(Path.is_dir, map(Path, files)):
            added = dict(_added(repo, folder))
            recorded |= added
            watched |= {path: content_md5(repo, Path(path)) for path in added if Path(path).exists()}
        watched |= {each.def_path: content_md5(repo, Path(each.def_path)) for each in definition.params if each.exists}
        if _differing(watched, recorded):
            _await_settled()  # another dvc process may be writing dvc.lock
            recorded |= _on_record(repo, stage)[1]
        for path in _differing(watched, recorded):
            known = recorded[path]
            raise UserError(
                f"{path}: is not what {known.where} has on record (MD5 {watched[path]}, not {known.md5}): damaged or edited."
                f" `make doctor` shows details. To keep an edit, run `{known.keep}`; to undo it, remove the file and run"
                f" `dvc checkout {path}`."
            )
        params = {name: value for dependency in definition.params for name, value in dependency.read_params().items()}
    return StageInputs(files, _key(definition.cmd, files, params), bool(definition.outs), _nested(params))


def locked_inputs(entry: Mapping[str, Any]) -> StageInputs:
    """Return the inputs recorded in an entry of dvc.lock."""
    files = {dep["path"]: dep["md5"] for dep in entry.get("deps", [])}
    params = {name: value for values in entry.get("params", {}).values() for name, value in values.items()}
    return StageInputs(files, _key(entry["cmd"], files, params), "outs" in entry)


def content_md5(repo: Repo, path: Path) -> str:
    """Compute DVC's hash of a file or folder from its present bytes, without DVC's database of earlier hashes."""
    if path.is_file():
        return md5_of(path)
    stateless = HashFileDB(repo.fs, str(path.resolve()))
    found = build(stateless, str(path.resolve()), repo.fs, "md5", ignore=repo.dvcignore, dry_run=True)[2].hash_info.value
    assert found is not None
    return found


def _on_record(repo: Repo, stage: str) -> tuple[Any, dict[str, Recorded]]:
    """Return the definition of `stage`, and the recorded outputs of all stages in dvc.yaml."""
    if _LOCK.is_file() and not _LOCK.read_bytes().endswith(b"\n"):
        _await_settled()
    try:
        return _parsed(repo, stage)
    except (DvcException, _BrokenLockError):
        _await_settled()
    try:
        return _parsed(repo, stage)
    except (DvcException, _BrokenLockError) as error:
        raise UserError(f"dvc.yaml or dvc.lock: {' '.join(str(error).split())}. Run `make doctor` for help.") from None


class _BrokenLockError(Exception):
    pass


def _parsed(repo: Repo, stage: str) -> tuple[Any, dict[str, Recorded]]:
    pipeline = load_file(repo, repo.fs.abspath("dvc.yaml"))
    stages = pipeline.LOADER(pipeline, pipeline.contents, {})  # without dvc.lock, because DVC takes seconds to read it
    return stages[stage], _recorded(set(stages))


def _recorded(stages: Container[str]) -> dict[str, Recorded]:
    """Return the outputs of these stages recorded in dvc.lock. Raises _BrokenLockError."""
    if not _LOCK.is_file():
        return {}
    try:
        content = yaml.load(_LOCK.read_text(encoding="utf-8"), getattr(yaml, "CBaseLoader", yaml.BaseLoader))  # all values as text
        return {
            out["path"]: Recorded(out["md5"], "dvc.lock", f"dvc commit -f {name}")
            for name, entry in content["stages"].items()
            if name in stages
            for out in entry.get("outs", [])
            if out.get("hash") == "md5"  # DVC 2 wrote no such key, and hashed text after changing its line ends
        }
    except (yaml.YAMLError, UnicodeDecodeError, AttributeError, KeyError, TypeError) as error:
        raise _BrokenLockError(f"dvc.lock is broken ({type(error).__name__})") from None


def _await_settled() -> None:
    """Wait until dvc.lock no longer changes. DVC writes it in place for a second or two, under a lock that a stage must not take."""
    before = None
    while _LOCK.is_file() and (now := _LOCK.read_bytes()) != before:
        before = now
        time.sleep(_SECONDS_BETWEEN_LOOKS)


def _added(repo: Repo, folder: Path) -> Iterator[tuple[str, Recorded]]:
    """Yield the paths added with `dvc add`, in `folder` or as `folder`, with the hash in their *.dvc file."""
    for file in sorted([*folder.rglob("*.dvc"), *folder.parent.glob(f"{folder.name}.dvc")]):
        if file.is_file():
            for out in load_file(repo, repo.fs.abspath(str(file))).stage.outs:
                path = (file.parent / out.def_path).as_posix()
                if out.hash_info and out.hash_name == "md5":
                    yield path, Recorded(out.hash_info.value, file.as_posix(), f"dvc commit -f {file.as_posix()}")


def _nested(params: Mapping[str, Any]) -> dict[str, Any]:
    """Nest {"clean": {...}, "split.folds": [0]} as in params.yaml."""
    nested: dict[str, Any] = {}
    for key, value in params.items():
        *sections, name = key.split(".")
        parent = nested
        for section in sections:
            parent = parent.setdefault(section, {})
        parent[name] = value
    return nested


def _differing(files: Mapping[str, str], recorded: Mapping[str, Recorded]) -> list[str]:
    return [path for path, md5 in files.items() if path in recorded and recorded[path].md5 != md5]


def _key(command: str, files: Mapping[str, str], params: Mapping[str, Any]) -> str:
    content = json.dumps([command, dict(files), dict(params)], sort_keys=True)
    return hashlib.sha256(content.encode("utf-8")).hexdigest()
