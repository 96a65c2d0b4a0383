"""What dvc.lock has on record about a stage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from textmill.base.files import md5_of


@dataclass(frozen=True)
class LockedStage:
    """One entry of dvc.lock. entry_hash: SHA-256 of all of it. outputs: MD5 by path. params: by key."""

    name: str
    inputs_key: str
    entry_hash: str
    outputs: Mapping[str, str]
    params: Mapping[str, Any]

    def has_on_record(self, path: Path) -> bool:
        """Is this output what dvc.lock says? Raises KeyError for a path that is no output."""
        return md5_of(path) == self.outputs[str(path)]
