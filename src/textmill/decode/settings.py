"""Section decode of params.yaml."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from textmill.settings.schema import require


@dataclass(frozen=True)
class DecodeSettings:
    """Beam search, the same with torch and with CTranslate2.

    beam_size: number of beams; 1 is greedy search.
    length_penalty: hypotheses are ranked by log probability / length ** length_penalty.
    max_tokens: largest length of an output in tokens. Longer sources are cut to this length, and counted.
    batch_size: number of texts decoded together.
    device: device of the evaluate stages: cpu, cuda or auto. The exported model always runs on a CPU.
    """

    beam_size: int = 4
    length_penalty: float = 1.0
    max_tokens: int = 128
    batch_size: int = 32
    device: Literal["auto", "cpu", "cuda"] = "auto"

    def __post_init__(self) -> None:
        for name in ("beam_size", "max_tokens", "batch_size"):
            require(getattr(self, name) >= 1, f"{name}: must be 1 or more.")
        require(self.length_penalty >= 0, "length_penalty: must be 0 or more.")
