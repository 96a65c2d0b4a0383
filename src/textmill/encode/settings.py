"""Section encode of params.yaml."""

from __future__ import annotations

from dataclasses import dataclass

from textmill.settings.schema import require


@dataclass(frozen=True)
class EncodeSettings:
    """Settings of the stage encode.

    max_tokens: training pairs with more tokens than this on either side are left out and counted.
    """

    max_tokens: int = 128

    def __post_init__(self) -> None:
        require(self.max_tokens >= 8, "max_tokens: must be 8 or more.")
