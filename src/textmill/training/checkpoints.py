"""What a training needs to go on as if nothing had happened.

A checkpoint lies outside the outputs that DVC knows (an output is deleted before a rerun), and its name holds a
fingerprint of everything that determines the result: settings, data and code. One that does not match is never read.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from textmill.errors import UserError
from textmill.tensors import read_tensors, write_tensors


class CheckpointFile:
    """The newest checkpoint of one training."""

    def __init__(self, folder: Path, fingerprint: str) -> None:
        self.path = folder / f"{fingerprint}.safetensors"

    def save(self, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        """Replace the checkpoint in one step, and remove those that other settings, data or code have left."""
        write_tensors(self.path, tensors, state)
        for other in self.path.parent.glob("*.safetensors"):
            if other != self.path:
                other.unlink()

    def load(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Tensors and state, or None if there is no whole checkpoint of this fingerprint."""
        try:
            return read_tensors(self.path)
        except UserError:
            return None

    def discard(self) -> None:
        """Remove the checkpoint; called when the result is written."""
        self.path.unlink(missing_ok=True)
