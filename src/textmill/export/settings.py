"""Section export of params.yaml."""

from __future__ import annotations

from dataclasses import dataclass

from textmill.settings.schema import require


@dataclass(frozen=True)
class ExportSettings:
    """The checks that a model must pass before it is exported.

    name: name of the registered MLflow model. `auto`: textmill-SOURCE-TARGET, with the codes of the languages.
    parity_sentences: number of development pairs on which the exported model is compared with the torch model.
    max_log_probability_difference: largest allowed difference between float32 export and torch over all tokens of these pairs, in nats.
    min_identical: smallest allowed share of these pairs for which beam search with the float32 export gives the same tokens as torch.
    max_size_ratio: largest allowed size of the int8 model file, as a ratio to the float32 torch weights.
    """

    name: str = "auto"
    parity_sentences: int = 200
    max_log_probability_difference: float = 1e-4
    min_identical: float = 0.99
    max_size_ratio: float = 0.27

    def __post_init__(self) -> None:
        require(
            bool(self.name) and all(c.isascii() and (c.isalnum() or c in "-_") for c in self.name),
            "name: may contain only ASCII letters, digits, - and _.",
        )
        require(self.parity_sentences >= 1, "parity_sentences: must be 1 or more.")
        require(0 <= self.min_identical <= 1, "min_identical: must be between 0 and 1.")


@dataclass(frozen=True)
class NameSettings:
    """The part of `export` that the stage `track` needs. name: name of the registered MLflow model."""

    name: str
