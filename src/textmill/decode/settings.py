"""Section decode of params.yaml."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from textmill.settings.schema import require
from textmill.tasks.cutting import cut_tokens
from textmill.tasks.settings import TaskSettings, settings_of_task


@dataclass(frozen=True)
class DecodeSettings:
    """How outputs are searched or drawn, the same with torch and with CTranslate2.

    beam_size: number of beams; 1 is greedy search. Only for the method beam.
    length_penalty: hypotheses are ranked by log probability / length ** length_penalty.
    max_tokens: largest length of an output in tokens.
    batch_size: number of texts decoded together.
    device: device of the evaluate stages: cpu, cuda or auto. The exported model always runs on a CPU.
    method: beam, sampling (tokens are drawn at random), or labels (the most probable of a given list of outputs). It follows from the kind
        of the task; set it in `tasks.NAME.decode` only.
    min_tokens: smallest length of an output in tokens.
    no_repeat_ngram: an output has no n-gram of this many tokens twice; 0 is off.
    repetition_penalty: logits of tokens that the output already has are divided by it (multiplied if negative); 1 is off.
    temperature: divides the logits before sampling, and the log probabilities of labels. Below 1: more certain; above: more even.
    top_k: draw from the most probable top_k tokens only; 0 is off.
    top_p: draw from the fewest most probable tokens whose probabilities sum to top_p or more; 1 is off.
    min_p: draw only from tokens with at least this share of the highest probability; 0 is off.
    max_source_tokens: longer sources are cut to this length, and counted; 0 is max_tokens.
    cut: which end of a source that is too long is cut. In a dialogue the newest turn is at the end, so the start is cut. It follows
        from the kind of the task; set it in `tasks.NAME.decode` only.
    kept_tokens: tokens at the start that are kept even then: those of the name of the task.
    """

    beam_size: int = 4
    length_penalty: float = 1.0
    max_tokens: int = 128
    batch_size: int = 32
    device: Literal["auto", "cpu", "cuda"] = "auto"
    method: Literal["beam", "sampling", "labels"] = "beam"
    min_tokens: int = 0
    no_repeat_ngram: int = 0
    repetition_penalty: float = 1.0
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    max_source_tokens: int = 0
    cut: Literal["end", "start"] = "end"
    kept_tokens: int = 0

    def __post_init__(self) -> None:
        for name in ("beam_size", "max_tokens", "batch_size"):
            require(getattr(self, name) >= 1, f"{name}: must be 1 or more.")
        for name in ("length_penalty", "min_tokens", "no_repeat_ngram", "top_k", "max_source_tokens", "kept_tokens"):
            require(getattr(self, name) >= 0, f"{name}: must be 0 or more.")
        for name in ("repetition_penalty", "temperature"):
            require(getattr(self, name) > 0, f"{name}: must be greater than 0.")
        require(0 < self.top_p <= 1, "top_p: must be greater than 0 and at most 1.")
        require(0 <= self.min_p <= 1, "min_p: must be from 0 to 1.")
        require(self.min_tokens <= self.max_tokens, "min_tokens: must be at most max_tokens.")

    @property
    def source_limit(self) -> int:
        """The largest number of tokens of a source that the model reads."""
        return self.max_source_tokens or self.max_tokens

    def read_part(self, source: Sequence[int]) -> Sequence[int]:
        """Return the tokens of a source that the model reads."""
        return cut_tokens(source, self.source_limit, self.cut, self.kept_tokens)

    @property
    def is_constrained(self) -> bool:
        """True if the probabilities of the next token depend on the tokens so far in more ways than the model's own."""
        return bool(self.min_tokens or self.no_repeat_ngram or self.repetition_penalty != 1.0)


def decode_of(decode: DecodeSettings, task: TaskSettings, key: str = "decode") -> DecodeSettings:
    """Return the settings of a task: those of all tasks, with method and cut of its kind, and its own differences.

    key: for messages. Raises UserError for a wrong setting of the task.
    """
    of_kind = replace(decode, method=task.special.method, cut=task.special.cut)
    return settings_of_task(of_kind, task.decode, {}, key)
