"""Section export of params.yaml."""

from __future__ import annotations

from dataclasses import dataclass

from textmill.settings.schema import require


@dataclass(frozen=True)
class ExportSettings:
    """What must hold before an exported model is written.

    parity_sentences: development pairs on which the exported model is compared with torch.
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
class NameSettings:
    """The part of `export` that `track` needs. name: of the registered MLflow model."""

    name: str
