"""From the settings of a source to the files that it names."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from textmill.base.errors import UserError
from textmill.collect.readers.catalogs import wheel_catalogs
from textmill.collect.readers.files import SourceFile, shown
from textmill.collect.settings import SourceSettings

_DVC_SUFFIX = ".dvc"  # stands beside a file that is tracked


class Located(NamedTuple):
    """A file to read. target: the other file of aligned lines."""

    file: SourceFile
    target: SourceFile | None = None


def locate(source: SourceSettings, target_language: str, wheels: Mapping[str, Path]) -> list[Located]:
    """The files of a source, sorted by name. wheels: where the wheels lie.

    A path that exists is taken as it is; otherwise it is a pattern. Patterns match files, but neither hidden ones nor those
    that DVC keeps beside tracked files, and `**` follows no links to folders. Raises UserError if nothing is there.
    """
    if source.wheel is not None:
        label = source.wheel.replace("==", "-")
        return [Located(file) for file in wheel_catalogs(wheels[source.wheel], target_language, label)]
    assert source.path is not None  # the settings see to it
    if source.target_path is None:
        return [Located(_file(path)) for path in _matches(source.path)]
    if os.path.lexists(source.path) or "*" not in source.path:
        return [Located(_file(Path(source.path)), _file(Path(source.target_path)))]
    return [Located(_file(path), _file(target)) for path, target in _aligned(source.path, source.target_path)]


def _file(path: Path) -> SourceFile:
    name = shown(path.as_posix())
    if path.is_dir():
        raise UserError(f"{name}: is a folder. Name a file in collect.sources, or a pattern such as {name}/*.tsv.")
    if not os.path.lexists(path):
        raise UserError(f"{name}: no such file. Correct collect.sources in params.yaml, or put the file there.")
    if not path.exists():
        raise UserError(f"{name}: is a link that leads nowhere or in a circle. Replace it by the file.")
    if not path.is_file():
        raise UserError(f"{name}: is no ordinary file. Name a file in collect.sources.")
    return SourceFile(name, path)


def _matches(pattern: str) -> list[Path]:
    if os.path.lexists(pattern) or not any(sign in pattern for sign in "*?["):
        return [Path(pattern)]
    whole = Path(pattern)
    folder, relative = (Path(whole.anchor), whole.relative_to(whole.anchor)) if whole.anchor else (Path(), whole)
    try:
        found = [path for path in folder.glob(str(relative)) if _is_source(path)]
    except (ValueError, OSError) as error:
        raise UserError(f"{shown(pattern)}: not a usable pattern ({shown(error)}). Correct collect.sources in params.yaml.") from None
    if not found:
        raise UserError(f"{shown(pattern)}: matches no file. Correct collect.sources in params.yaml, or put files there.")
    return sorted(found, key=lambda path: path.as_posix())


def _is_source(path: Path) -> bool:
    return not path.is_dir() and not path.name.startswith(".") and path.suffix != _DVC_SUFFIX


def _aligned(pattern: str, target_pattern: str) -> list[tuple[Path, Path]]:
    """Pairs of files whose stars stand for the same text."""
    if pattern.count("*") != 1 or target_pattern.count("*") != 1:
        raise UserError(f"{shown(pattern)}: a pattern for aligned lines has one * in path and one in target_path. Correct collect.sources.")
    before, after = Path(pattern).as_posix().split("*")
    stars = {path: path.as_posix()[len(before) : len(path.as_posix()) - len(after)] for path in _matches(pattern)}
    pairs = [(path, Path(target_pattern.replace("*", star))) for path, star in stars.items()]
    left_over = [path for path in _matches(target_pattern) if path not in {target for _, target in pairs}]
    if left_over:
        raise UserError(f"{shown(left_over[0])}: no file of {shown(pattern)} belongs to it. Add that file, or remove this one.")
    return pairs
