"""Read the validation losses of a training in another process, during and after the training."""

from __future__ import annotations

import csv
from pathlib import Path

from textmill.base.errors import UserError
from textmill.base.tensors import read_metadata


class Curve:
    """The learning curve of a training that starts after this object is made.

    folder: folder of the checkpoints. Existing files belong to an earlier training and are ignored until they change.
    history: history.csv, which the training writes at the end, with the complete curve.
    """

    def __init__(self, folder: Path, history: Path) -> None:
        self._folder, self._history = folder, history
        self._before = _times(folder)

    def so_far(self) -> dict[int, float]:
        """Return the validation losses written so far, by step."""
        losses: dict[int, float] = {}
        for path, changed in _times(self._folder).items():
            if self._before.get(path) != changed:
                try:
                    rows = read_metadata(path)["history"]
                except UserError:  # the training has ended and removed the file
                    continue
                losses |= {row["step"]: row["validation_loss"] for row in rows if row["validation_loss"] is not None}
        return losses

    def whole(self) -> dict[int, float]:
        """Return all validation losses after a successful training, by step. Empty if the stage writes no history."""
        if not self._history.is_file():
            return {}
        with self._history.open(encoding="utf-8", newline="") as file:
            return {int(row["step"]): float(row["validation_loss"]) for row in csv.DictReader(file) if row["validation_loss"]}


def _times(folder: Path) -> dict[Path, int]:
    times = {}
    for path in folder.glob("*.safetensors"):
        try:
            times[path] = path.stat().st_mtime_ns
        except FileNotFoundError:  # replaced by a newer file in the meantime
            continue
    return times
