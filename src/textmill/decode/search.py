"""The interface of every engine: beam search and scoring on token ids."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from textmill.decode.settings import DecodeSettings


class Hypothesis(NamedTuple):
    """An output without END. score: log probability / length ** length_penalty, where the length includes END."""

    tokens: list[int]
    score: float

    def is_finished(self, decode: DecodeSettings) -> bool:
        """True if the output ended before `decode.max_tokens`. An output of exactly that length counts as cut."""
        return len(self.tokens) < decode.max_tokens


class Engine(Protocol):
    """A model that decodes and scores, whatever library computes it."""

    def generate(self, sources: Sequence[Sequence[int]], decode: DecodeSettings, num_hypotheses: int = 1) -> list[list[Hypothesis]]:
        """Return the best outputs of every source, best first. An empty source has an empty output."""
        ...

    def score(self, sources: Sequence[Sequence[int]], targets: Sequence[Sequence[int]]) -> list[list[float]]:
        """Return the natural-log probability of each target token and of END: len(target) + 1 numbers per pair."""
        ...

    def can_score(self, source: Sequence[int], target: Sequence[int]) -> bool:
        """True if the model has positions for the whole pair."""
        ...


def has_positions(architecture: str, max_positions: int, source: Sequence[int], target: Sequence[int]) -> bool:
    """True if a table of `max_positions` positions is long enough for a pair, including BEGIN. 0 means that there is no table."""
    if max_positions == 0 or architecture == "lstm":
        return True
    target_length = len(target) + 1
    return (len(source) + target_length if architecture == "decoder_only" else max(len(source), target_length)) <= max_positions
