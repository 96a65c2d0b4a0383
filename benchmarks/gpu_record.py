"""What the parts of benchmarks/gpu.py measured, kept line by line, so that a part that is stopped loses nothing."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

Record = dict[str, Any]


@dataclass(frozen=True)
class Plan:
    """How a part measures. is_tiny: tiny shapes and few steps. data: the prepared pairs."""

    device: torch.device
    is_tiny: bool
    data: Path


class Recorder:
    """Appends records to a file. A record has a name, and is a check (`holds`), a measurement, or both."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def add(self, name: str, **values: Any) -> None:
        """Keep one record."""
        line = json.dumps({"name": name, **values})
        print(line, flush=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")


def read_records(path: Path) -> list[Record]:
    """All whole records of a file that may have been cut."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    return [json.loads(line) for line in text.split("\n")[:-1]]
