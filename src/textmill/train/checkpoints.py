"""What a training needs to go on as if nothing had happened.

A checkpoint lies outside the outputs that DVC knows (an output is deleted before a rerun), and its name holds a
fingerprint of everything that determines the result: settings, data and code. One that does not match is never read.
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
    """The newest checkpoint of one training."""

    def __init__(self, folder: Path, fingerprint: str) -> None:
        self.path = folder / f"{fingerprint}.safetensors"

    def save(self, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        """Replace the checkpoint in one step, and remove those that other settings, data or code, or a killed write, have left.

        Raises UserError if there is no room for it.
        """
        try:
            write_tensors(self.path, tensors, state)
        except (OSError, SafetensorError) as error:
            raise UserError(f"{self.path}: not written ({error}). Make room and run again; the checkpoint before it is kept.") from None
        self._remove_all_but({self.path})

    def load(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Tensors and state, or None if there is no whole checkpoint of this fingerprint. Removes what killed writes left.

        Says so if there is one, but damaged: the result will be the same, only later.
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
        """Remove the checkpoint, and what killed writes have left; called when the result is written."""
        self._remove_all_but(set())

    def _remove_all_but(self, kept: set[Path]) -> None:
        remove_unfinished(self.path.parent)
        for path in set(self.path.parent.glob("*.safetensors")) - kept:
            path.unlink()
