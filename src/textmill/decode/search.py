"""What every engine offers: search and scoring over token ids."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from textmill.decode.settings import DecodeSettings


class Hypothesis(NamedTuple):
    """An output without its end symbol. score: log probability over length (end counted) to the length penalty."""

    tokens: list[int]
    score: float

    def is_finished(self, decode: DecodeSettings) -> bool:
        """Did it come to its end by itself, and was not cut at `decode.max_tokens`? One that ended just there counts as cut."""
        return len(self.tokens) < decode.max_tokens


class Engine(Protocol):
    """A model that can be asked, whatever computes it."""

    def translate(self, sources: Sequence[Sequence[int]], decode: DecodeSettings, num_hypotheses: int = 1) -> list[list[Hypothesis]]:
        """The best outputs of every source, best first. An empty source has an empty output."""
        ...

    def score(self, sources: Sequence[Sequence[int]], targets: Sequence[Sequence[int]]) -> list[list[float]]:
        """Natural-log probability of each target token and, at last, of the end: len(target) + 1 numbers."""
        ...

    def can_score(self, source: Sequence[int], target: Sequence[int]) -> bool:
        """Has the model positions for the whole pair?"""
        ...


def has_positions(architecture: str, max_positions: int, source: Sequence[int], target: Sequence[int]) -> bool:
    """Does a table of `max_positions` rows (0: there is no table) reach the end of a pair, with the begin before the target?"""
    if max_positions == 0 or architecture == "lstm":
        return True
    target_length = len(target) + 1
    return (len(source) + target_length if architecture == "decoder_only" else max(len(source), target_length)) <= max_positions
