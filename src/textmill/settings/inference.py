"""Settings of what uses a trained model: decode, export, evaluate."""

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


@dataclass(frozen=True)
class ExportSettings:
    """What must hold before an exported model is written.

    max_log_probability_difference: float32 export against torch, largest over all tokens of `parity_sentences` development pairs.
    min_identical: share of those whose beam search gives the same tokens in float32.
    max_size_ratio: int8 model file over the float32 weights of the same model.
    name: of the registered MLflow model.
    """

    name: str
    parity_sentences: int
    max_log_probability_difference: float
    min_identical: float
    max_size_ratio: float

    def __post_init__(self) -> None:
        require(
            bool(self.name) and all(c.isascii() and (c.isalnum() or c in "-_") for c in self.name),
            "name: may hold ASCII letters, digits, - and _ only.",
        )
        require(self.parity_sentences >= 1, "parity_sentences: must be 1 or more.")
        require(0 <= self.min_identical <= 1, "min_identical: must be between 0 and 1.")


@dataclass(frozen=True)
class EvaluateSettings:
    """bootstrap_samples: resamplings of the test set for every interval and comparison (Koehn 2004)."""

    bootstrap_samples: int

    def __post_init__(self) -> None:
        require(self.bootstrap_samples >= 100, "bootstrap_samples: must be 100 or more.")


@dataclass(frozen=True)
class NameSettings:
    """The part of `export` that `track` needs. name: of the registered MLflow model."""

    name: str
