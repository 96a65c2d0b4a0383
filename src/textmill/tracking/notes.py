"""What the processes of one rebuild tell each other about MLflow, in small files: nobody holds a lock while waiting for a network."""

from __future__ import annotations

import hashlib
import os
import tempfile
from contextlib import suppress
from pathlib import Path

_KEPT = 200  # notes of this many rebuilds


class Notes:
    """The notes of one rebuild (or search) about one store."""

    def __init__(self, folder: Path, *identity: str) -> None:
        """folder: of the notes of all rebuilds. identity: the store's address, and what names the rebuild."""
        name = hashlib.sha256("\0".join(identity).encode("utf-8")).hexdigest()[:32]
        self._run, self._lost = folder / f"{name}.run", folder / f"{name}.lost"

    def run_id(self) -> str:
        """The parent run that the rebuild's first process has opened; empty if there is none yet."""
        return self._run.read_text(encoding="utf-8") if self._run.is_file() else ""

    def claim(self, run_id: str) -> str:
        """Make `run_id` the rebuild's parent run, unless another process was first; returns the one that counts."""
        self._run.parent.mkdir(parents=True, exist_ok=True)
        self._forget_old()
        descriptor, written = tempfile.mkstemp(dir=self._run.parent, prefix=".", suffix=".tmp")
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(run_id)
            with suppress(FileExistsError):
                os.link(written, self._run)  # in one step, and only if it is not there
        finally:
            Path(written).unlink()
        return self.run_id()

    def replace(self, run_id: str) -> str:
        """Make `run_id` the parent run in place of one that was deleted."""
        self._run.unlink(missing_ok=True)
        return self.claim(run_id)

    def is_lost(self) -> bool:
        """Has a process of this rebuild given the server up?"""
        return self._lost.is_file()

    def give_up(self) -> None:
        """Say that the server does not work; where even that cannot be written, the next process finds it out again."""
        with suppress(OSError):
            self._lost.parent.mkdir(parents=True, exist_ok=True)
            self._lost.touch()

    def hope(self) -> None:
        """Take that back: the server works."""
        with suppress(OSError):
            self._lost.unlink(missing_ok=True)

    def _forget_old(self) -> None:
        notes = sorted(self._run.parent.glob("*.*"), key=lambda path: path.stat().st_mtime)
        for path in notes[:-_KEPT]:
            path.unlink(missing_ok=True)
