"""Compare the exported model with the torch model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from textmill.decode.search import Engine
from textmill.decode.settings import DecodeSettings


@dataclass(frozen=True)
class Parity:
    """The agreement of two engines.

    max_log_probability_difference: largest over all reference tokens, in nats.
    identical: share of identical best outputs.
    """

    max_log_probability_difference: float
    identical: float


def compare_engines(
    first: Engine, second: Engine, sources: Sequence[list[int]], targets: Sequence[list[int]], decode: DecodeSettings
) -> Parity:
    """Score the targets and search outputs of the sources with both engines. sources, targets: token ids; no text may be empty."""
    scores = zip(first.score(sources, targets), second.score(sources, targets), strict=True)
    difference = max(abs(a - b) for row in scores for a, b in zip(*row, strict=True))
    decode = replace(decode, method="beam")  # engines draw with different random numbers
    outputs = zip(first.generate(sources, decode), second.generate(sources, decode), strict=True)
    identical = [a[0].tokens == b[0].tokens for a, b in outputs]
    return Parity(difference, sum(identical) / len(identical))
