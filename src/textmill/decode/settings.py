"""Section decode of params.yaml."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from textmill.settings.schema import require


@dataclass(frozen=True)
class DecodeSettings:
    """How outputs are searched, by torch and by CTranslate2 alike.

    beam_size: 1 is greedy. length_penalty: a hypothesis is ranked by log probability over length to this power.
    max_tokens: an output ends here; a longer source is cut here, and counted. batch_size: sentences decoded together.
    device: cpu, cuda, or auto, of the stages `evaluate`; the exported model runs on a CPU.
    """

    beam_size: int
    length_penalty: float
    max_tokens: int
    batch_size: int
    device: Literal["auto", "cpu", "cuda"] = "auto"

    def __post_init__(self) -> None:
        for name in ("beam_size", "max_tokens", "batch_size"):
            require(getattr(self, name) >= 1, f"{name}: must be 1 or more.")
        require(self.length_penalty >= 0, "length_penalty: must be 0 or more.")
