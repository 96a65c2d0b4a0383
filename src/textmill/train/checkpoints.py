"""Checkpoints, from which an interrupted training resumes with the same result.

A checkpoint is not a DVC output, because DVC deletes outputs before a rerun.
Its file name is a fingerprint of everything that determines the result: settings, data and code. A checkpoint with another
fingerprint is never read.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from torch import Tensor

from textmill.base.errors import UserError
from textmill.base.files import remove_unfinished
from textmill.base.tensors import read_tensors, write_tensors


class CheckpointFile:
    """The latest checkpoint of one training."""

    def __init__(self, folder: Path, fingerprint: str) -> None:
        self.path = folder / f"{fingerprint}.safetensors"

    def save(self, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        """Replace the checkpoint atomically, then remove checkpoints with other fingerprints and unfinished files.

        Raises UserError if the file cannot be written, for example because the disk is full.
        """
        try:
            write_tensors(self.path, tensors, state)
        except (OSError, SafetensorError) as error:
            raise UserError(f"{self.path}: not written ({error}). Free disk space, then run again; the last checkpoint is kept.") from None
        self._remove_all_but({self.path})

    def load(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Return tensors and state, or None if there is no complete checkpoint with this fingerprint. Removes unfinished files.

        A damaged checkpoint is reported but is no error: training starts from the beginning and gives the same result.
        """
        remove_unfinished(self.path.parent)
        if not self.path.exists():
            return None
        try:
            return read_tensors(self.path)
        except UserError as error:
            print(f"checkpoint not used, training starts from the beginning: {error}", file=sys.stderr, flush=True)
            return None

    def discard(self) -> None:
        """Remove the checkpoint and unfinished files. Call it after the result is written."""
        self._remove_all_but(set())

    def _remove_all_but(self, kept: set[Path]) -> None:
        remove_unfinished(self.path.parent)
        for path in set(self.path.parent.glob("*.safetensors")) - kept:
            path.unlink()
