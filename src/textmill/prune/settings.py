"""Section prune of params.yaml."""

from __future__ import annotations

from dataclasses import dataclass, field

from textmill.settings.schema import require
from textmill.train.settings import TrainSettings


@dataclass(frozen=True)
class PruneSettings:
    """Structured pruning by first-order Taylor importance (Michel et al. 2019; Molchanov et al. 2019), then fine-tuning.

    encoder_heads, decoder_heads: number of heads to keep in every layer of the stack. Each layer keeps its own most important heads.
    feed_forward_removed: share of all feed-forward units to remove, ranked over all layers.
    multiple_of: feed-forward widths are rounded to a multiple of this.
    importance_batches: number of batches on which importance is measured.
    fine_tune: training of the pruned model.
    """

    encoder_heads: int = 3
    decoder_heads: int = 3
    feed_forward_removed: float = 0.4
    multiple_of: int = 16
    importance_batches: int = 40
    fine_tune: TrainSettings = field(default_factory=TrainSettings)

    def __post_init__(self) -> None:
        for name in ("encoder_heads", "decoder_heads", "multiple_of", "importance_batches"):
            require(getattr(self, name) >= 1, f"{name}: must be 1 or more.")
        require(0 <= self.feed_forward_removed < 1, "feed_forward_removed: must be at least 0 and below 1.")
