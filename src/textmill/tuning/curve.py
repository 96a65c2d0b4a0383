"""The validation losses of a training in another process, read while it runs and when it has ended."""

from __future__ import annotations

import csv
from pathlib import Path

from textmill.base.errors import UserError
from textmill.base.tensors import read_metadata


class Curve:
    """What the training that starts now will have written into its checkpoints.

    folder: of the checkpoints. Files that lie there already are of an earlier training until they change.
    history: the training's last output, history.csv, which has the whole curve.
    """

    def __init__(self, folder: Path, history: Path) -> None:
        self._folder, self._history = folder, history
        self._before = _times(folder)

    def so_far(self) -> dict[int, float]:
        """Validation losses by step, of what has been written up to now."""
        losses: dict[int, float] = {}
        for path, changed in _times(self._folder).items():
            if self._before.get(path) != changed:
                try:
                    rows = read_metadata(path)["history"]
                except UserError:  # the training has ended and removed it
                    continue
                losses |= {row["step"]: row["validation_loss"] for row in rows if row["validation_loss"] is not None}
        return losses

    def whole(self) -> dict[int, float]:
        """The same of a training that has ended well; empty for a stage that leaves no history."""
        if not self._history.is_file():
            return {}
        with self._history.open(encoding="utf-8", newline="") as file:
            return {int(row["step"]): float(row["validation_loss"]) for row in csv.DictReader(file) if row["validation_loss"]}


def _times(folder: Path) -> dict[Path, int]:
    times = {}
    for path in folder.glob("*.safetensors"):
        try:
            times[path] = path.stat().st_mtime_ns
        except FileNotFoundError:  # replaced by a newer one since
            continue
    return times
