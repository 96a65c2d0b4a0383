"""What a stage's result depends on, as DVC sees it: the key that ties an MLflow run to an entry of dvc.lock.

DVC trusts size and time of a file, and the mode of an object of its cache, so a damaged file passes `dvc status`, `dvc checkout` and
`dvc repro`. Here every byte that a stage reads is hashed, and compared with what dvc.lock and *.dvc files record.
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
    """files: MD5 of every file that the stage depends on, by path; of a folder as DVC writes it, ending in `.dir`.

    key: of the command, these files and the params. has_outputs: does the stage write any? params: those that the stage declares, nested
    as in params.yaml.
    """

    files: dict[str, str]
    key: str
    has_outputs: bool
    params: dict[str, Any] = field(default_factory=dict, compare=False)


@dataclass(frozen=True)
class Recorded:
    """What DVC has on record about a path. where: dvc.lock or a *.dvc file. keep: the command that accepts an edit."""

    md5: str
    where: str
    keep: str


def stage_inputs(stage: str) -> StageInputs:
    """The inputs of a stage that is about to run. Raises UserError if one is not what the stage that made it has written."""
    with Repo() as repo:
        definition, recorded = _on_record(repo, stage)
        dependencies = [each for each in definition.deps if not isinstance(each, ParamsDependency)]
        files = {each.def_path: content_md5(repo, Path(each.def_path)) for each in dependencies if each.exists}
        watched = dict(files)
        for folder in filter(Path.is_dir, map(Path, files)):
            added = dict(_added(repo, folder))
            recorded |= added
            watched |= {path: content_md5(repo, Path(path)) for path in added if Path(path).exists()}
        if _differing(watched, recorded):
            _await_settled()  # another dvc process may have been writing dvc.lock
            recorded |= _on_record(repo, stage)[1]
        for path in _differing(watched, recorded):
            known = recorded[path]
            raise UserError(
                f"{path}: is not what {known.where} has on record (MD5 {watched[path]}, not {known.md5}): damaged, or edited."
                f" `make doctor` says more. To keep an edit, run `{known.keep}`; to drop it, remove the file and run `dvc checkout {path}`."
            )
        params = {name: value for dependency in definition.params for name, value in dependency.read_params().items()}
    return StageInputs(files, _key(definition.cmd, files, params), bool(definition.outs), _nested(params))


def locked_inputs(entry: Mapping[str, Any]) -> StageInputs:
    """The inputs that an entry of dvc.lock was made from."""
    files = {dep["path"]: dep["md5"] for dep in entry.get("deps", [])}
    params = {name: value for values in entry.get("params", {}).values() for name, value in values.items()}
    return StageInputs(files, _key(entry["cmd"], files, params), "outs" in entry)


def content_md5(repo: Repo, path: Path) -> str:
    """The hash that DVC gives a file or folder, of the bytes that are there now: DVC's memory of earlier hashes is not asked."""
    if path.is_file():
        return md5_of(path)
    forgetful = HashFileDB(repo.fs, str(path.resolve()))
    found = build(forgetful, str(path.resolve()), repo.fs, "md5", ignore=repo.dvcignore, dry_run=True)[2].hash_info.value
    assert found is not None
    return found


def _on_record(repo: Repo, stage: str) -> tuple[Any, dict[str, Recorded]]:
    """The definition of `stage`, and what dvc.lock says of all outputs of all stages that dvc.yaml still has."""
    if _LOCK.is_file() and not _LOCK.read_bytes().endswith(b"\n"):
        _await_settled()
    try:
        return _parsed(repo, stage)
    except (DvcException, _BrokenLockError):
        _await_settled()
    try:
        return _parsed(repo, stage)
    except (DvcException, _BrokenLockError) as error:
        raise UserError(f"dvc.yaml or dvc.lock: {' '.join(str(error).split())}. `make doctor` says what to do.") from None


class _BrokenLockError(Exception):
    pass


def _parsed(repo: Repo, stage: str) -> tuple[Any, dict[str, Recorded]]:
    pipeline = load_file(repo, repo.fs.abspath("dvc.yaml"))
    stages = pipeline.LOADER(pipeline, pipeline.contents, {})  # without dvc.lock, which DVC takes seconds to read
    return stages[stage], _recorded(set(stages))


def _recorded(stages: Container[str]) -> dict[str, Recorded]:
    """What dvc.lock says of the outputs of these stages. Raises _BrokenLockError."""
    if not _LOCK.is_file():
        return {}
    try:
        content = yaml.load(_LOCK.read_text(encoding="utf-8"), getattr(yaml, "CBaseLoader", yaml.BaseLoader))  # every value as text
        return {
            out["path"]: Recorded(out["md5"], "dvc.lock", f"dvc commit -f {name}")
            for name, entry in content["stages"].items()
            if name in stages
            for out in entry.get("outs", [])
            if out.get("hash") == "md5"  # DVC 2 wrote none, and hashed text with other line ends
        }
    except (yaml.YAMLError, UnicodeDecodeError, AttributeError, KeyError, TypeError) as error:
        raise _BrokenLockError(f"dvc.lock is broken ({type(error).__name__})") from None


def _await_settled() -> None:
    """Wait until dvc.lock is whole: DVC writes it in place, over a second or two, under a lock that a stage must not take."""
    before = None
    while _LOCK.is_file() and (now := _LOCK.read_bytes()) != before:
        before = now
        time.sleep(_SECONDS_BETWEEN_LOOKS)


def _added(repo: Repo, folder: Path) -> Iterator[tuple[str, Recorded]]:
    """What was added in or as `folder` with `dvc add`, as its *.dvc files have it."""
    for file in sorted([*folder.rglob("*.dvc"), *folder.parent.glob(f"{folder.name}.dvc")]):
        if file.is_file():
            for out in load_file(repo, repo.fs.abspath(str(file))).stage.outs:
                path = (file.parent / out.def_path).as_posix()
                if out.hash_info and out.hash_name == "md5":
                    yield path, Recorded(out.hash_info.value, file.as_posix(), f"dvc commit -f {file.as_posix()}")


def _nested(params: Mapping[str, Any]) -> dict[str, Any]:
    """{"clean": {...}, "split.folds": [0]} as params.yaml has it."""
    nested: dict[str, Any] = {}
    for key, value in params.items():
        *sections, name = key.split(".")
        place = nested
        for section in sections:
            place = place.setdefault(section, {})
        place[name] = value
    return nested


def _differing(files: Mapping[str, str], recorded: Mapping[str, Recorded]) -> list[str]:
    return [path for path, md5 in files.items() if path in recorded and recorded[path].md5 != md5]


def _key(command: str, files: Mapping[str, str], params: Mapping[str, Any]) -> str:
    content = json.dumps([command, dict(files), dict(params)], sort_keys=True)
    return hashlib.sha256(content.encode("utf-8")).hexdigest()
