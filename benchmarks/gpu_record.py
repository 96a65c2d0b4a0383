"""Record the measurements of benchmarks/gpu.py line by line, so that a part that is stopped keeps its results."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

Record = dict[str, Any]


@dataclass(frozen=True)
class Plan:
    """The options of a part.

    is_tiny: use tiny shapes and few steps.
    data: the prepared pairs.
    """

    device: torch.device
    is_tiny: bool
    data: Path


class Recorder:
    """Append records to a file. A record has a name, and is a check (key `holds`), a measurement, or both."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def add(self, name: str, **values: Any) -> None:
        """Append one record."""
        line = json.dumps({"name": name, **values})
        print(line, flush=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")


def read_records(path: Path) -> list[Record]:
    """Read all complete records. The last line of the file may be cut."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    return [json.loads(line) for line in text.split("\n")[:-1]]
