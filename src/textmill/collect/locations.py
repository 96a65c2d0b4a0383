"""Find the files that the settings of a source name."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from textmill.base.errors import UserError
from textmill.collect.readers.catalogs import wheel_catalogs
from textmill.collect.readers.files import SourceFile, shown
from textmill.collect.settings import SourceSettings

_DVC_SUFFIX = ".dvc"  # DVC puts FILE.dvc next to a tracked FILE


class Located(NamedTuple):
    """A file to read.

    target: the second file, for format `lines`.
    """

    file: SourceFile
    target: SourceFile | None = None


def locate(source: SourceSettings, target_language: str, wheels: Mapping[str, Path]) -> list[Located]:
    """Return the files of a source, sorted by name.

    wheels: wheel to its file.
    A path that exists is not treated as a pattern. Patterns match neither hidden files nor `.dvc` files, and `**` does not
    follow links to folders.
    Raises UserError if no file is found.
    """
    if source.wheel is not None:
        label = source.wheel.replace("==", "-")
        return [Located(file) for file in wheel_catalogs(wheels[source.wheel], target_language, label)]
    assert source.path is not None  # checked by SourceSettings
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
        raise UserError(f"{name}: a broken link, or a link to itself. Replace it with the file.")
    if not path.is_file():
        raise UserError(f"{name}: not a regular file. Name a file in collect.sources.")
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
    """Return the pairs of files in which the * of both patterns matches the same text."""
    if pattern.count("*") != 1 or target_pattern.count("*") != 1:
        raise UserError(f"{shown(pattern)}: a pattern for aligned lines has one * in path and one in target_path. Correct collect.sources.")
    before, after = Path(pattern).as_posix().split("*")
    stars = {path: path.as_posix()[len(before) : len(path.as_posix()) - len(after)] for path in _matches(pattern)}
    pairs = [(path, Path(target_pattern.replace("*", star))) for path, star in stars.items()]
    left_over = [path for path in _matches(target_pattern) if path not in {target for _, target in pairs}]
    if left_over:
        raise UserError(f"{shown(left_over[0])}: no file that matches {shown(pattern)} belongs to it. Add that file, or remove this one.")
    return pairs
