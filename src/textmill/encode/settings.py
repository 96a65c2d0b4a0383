"""Section encode of params.yaml."""

from __future__ import annotations

from dataclasses import dataclass

from textmill.settings.schema import require


@dataclass(frozen=True)
class EncodeSettings:
    """Settings of the stage encode.

    max_tokens: training pairs with more tokens than this on the target side are left out and counted.
    max_source_tokens: the same for the source side; some kinds of task cut the source instead (docs/tasks.md). 0 is max_tokens.
    """

    max_tokens: int = 128
    max_source_tokens: int = 0

    def __post_init__(self) -> None:
        require(self.max_tokens >= 8, "max_tokens: must be 8 or more.")
        require(self.max_source_tokens == 0 or self.max_source_tokens >= 8, "max_source_tokens: must be 0 (as max_tokens), or 8 or more.")

    @property
    def source_limit(self) -> int:
        """The largest number of tokens of a source."""
        return self.max_source_tokens or self.max_tokens
