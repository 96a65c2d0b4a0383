"""Sources that DVC watches: what it does not watch could change, and no stage would run again."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Protocol

from textmill.base.errors import UserError

RAW = Path("data/raw")


class Source(Protocol):
    """Settings of a source, of any section. A source of aligned lines has a `target_path` too."""

    @property
    def path(self) -> str | None: ...


def require_watched(section: str, sources: Sequence[Source]) -> None:
    """Raise UserError, in one line, if a source reads a file that DVC does not watch as part of data/raw.

    section: of params.yaml, for the message. DVC follows a link to a file, and data/raw itself may be a link, but it
    does not follow links to folders inside data/raw. Files that do not exist are left to the stage that reads them.
    """
    for place, source in enumerate(sources):
        for name in ("path", "target_path"):
            path = getattr(source, name, None)
            problem = None if path is None else _problem(path)
            if problem is not None:
                raise UserError(
                    f"params.yaml: {section}.sources[{place}].{name}: {path!r} {problem}, so DVC would not notice when it changes."
                    " Put the file itself into data/raw (`dvc add` or `dvc import-url`), and name it there."
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
    """The path, or the files of a pattern; what no pattern can be is left to the stage that reads it."""
    yield Path(path)
    if not os.path.lexists(path):
        try:
            yield from sorted(Path().glob(path))
        except (ValueError, OSError):
            return
