"""The interface of every engine: decoding and scoring on token ids."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

from textmill.decode.settings import DecodeSettings


class Hypothesis(NamedTuple):
    """An output without END. score: log probability / length ** length_penalty, where the length includes END."""

    tokens: list[int]
    score: float

    def is_finished(self, decode: DecodeSettings) -> bool:
        """True if the output ended before `decode.max_tokens`. An output of exactly that length counts as cut."""
        return len(self.tokens) < decode.max_tokens


Seeds = int | Sequence[int]


class Engine(Protocol):
    """A model that decodes and scores, whatever library computes it."""

    def generate(
        self, sources: Sequence[Sequence[int]], decode: DecodeSettings, num_hypotheses: int = 1, seed: Seeds = 0
    ) -> list[list[Hypothesis]]:
        """Return outputs of every source, sorted by score: drawn if decode.method is sampling, otherwise found by beam search.

        An empty source has an empty output.
        num_hypotheses: per source; in a beam search at most decode.beam_size. They are drawn independently.
        seed: for sampling; one for all sources, or one per source. The same seed and source give the same outputs, whatever other sources there are, and in every order.
        """
        ...

    def stream(self, source: Sequence[int], decode: DecodeSettings, seed: int = 0) -> Iterator[int]:
        """Yield the tokens of one output as they are decoded: drawn if decode.method is sampling, otherwise by greedy search.

        The last one is END, unless the output has decode.max_tokens tokens. source: not empty.
        """
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


def seeds_of(seed: Seeds, number: int) -> list[int]:
    """Return the seed of each of `number` sources. Raises ValueError if there is another number of seeds."""
    seeds = [seed] * number if isinstance(seed, int) else list(seed)
    if len(seeds) != number:
        raise ValueError(f"{len(seeds)} seeds for {number} sources")
    return seeds


def row_seed(seed: int, source: Sequence[int], number: int = 0) -> int:
    """Return 32 bits that depend on the seed, the content of the source, and the number of the output.

    They do not depend on the position in a batch, so a text has the same output alone, in a batch, and in another order.
    """
    content = f"{seed} {number} {' '.join(map(str, source))}"
    return int.from_bytes(hashlib.sha256(content.encode()).digest()[:4], "big")
