"""Check that DVC tracks all source files. If it did not, they could change without any stage running again."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Protocol

from textmill.base.errors import UserError

RAW = Path("data/raw")


class Source(Protocol):
    """Settings of a source in any section. Sources of format lines also have a `target_path`."""

    @property
    def path(self) -> str | None: ...


def require_watched(section: str, sources: Sequence[Source]) -> None:
    """Raise UserError if a source reads a file that DVC does not track as part of data/raw.

    section: section of params.yaml, for the message.
    DVC follows links to files, and data/raw itself may be a link. DVC does not follow links to folders inside data/raw.
    Missing files are reported by the stage that reads them.
    """
    for index, source in enumerate(sources):
        for name in ("path", "target_path"):
            path = getattr(source, name, None)
            problem = None if path is None else _problem(path)
            if problem is not None:
                raise UserError(
                    f"params.yaml: {section}.sources[{index}].{name}: {path!r} {problem}, so DVC would not notice when it changes."
                    " Put the file itself into data/raw (`dvc add` or `dvc import-url`), and use that path."
                )


def _problem(path: str) -> str | None:
    parts = PurePosixPath(path).parts
    if ".." in parts or parts[: len(RAW.parts)] != RAW.parts:
        return "is outside data/raw"
    linked = next((folder for match in _matches(path) for folder in match.parents if _is_linked(folder)), None)
    return None if linked is None else f"leads through {linked.as_posix()!r}, a link to a folder"


def _is_linked(folder: Path) -> bool:
    return len(folder.parts) > len(RAW.parts) and folder.is_symlink()


def _matches(path: str) -> Iterator[Path]:
    """Yield the path, or the files that match a pattern. Invalid patterns are reported by the stage that reads them."""
    yield Path(path)
    if not os.path.lexists(path):
        try:
            yield from sorted(Path().glob(path))
        except (ValueError, OSError):
            return
