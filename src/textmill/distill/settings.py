"""Section distill of params.yaml."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from textmill.settings.schema import require
from textmill.train.settings import TrainSettings


@dataclass(frozen=True)
class DistillSettings:
    """Sequence-level knowledge distillation (Kim & Rush 2016) of the fold models into one student.

    labelled_by: `out_of_fold`: each example is taught by the model that never saw it (with several repeats, those of all
        repeats together; if none left it out, as in a single hold-out, by all); `ensemble`: by all folds together.
    beam_size: of the teachers' search.
    num_hypotheses: of the teacher's this many best, the one nearest to the reference (sentence chrF) is taught
        (their sequence-level interpolation); 1 takes the best.
    min_chrf: an output with less sentence chrF than this against the reference is not taught; 0 teaches all.
    start_from: `scratch`, or `teacher`: the weights of the first fold's model, with fewer layers evenly spaced ones
        (shrink and fine-tune, Shleifer & Rush 2020).
    original_share: 1 also trains on the original pairs once an epoch, 0 on the teachers' outputs alone.
    encoder_layers, decoder_layers, feed_forward: the student's; 0, and all else: as in `model`.
    train: how it is trained, on all development data, without a validation set, for exactly max_steps.
    """

    labelled_by: Literal["out_of_fold", "ensemble"]
    beam_size: int
    num_hypotheses: int
    min_chrf: float
    start_from: Literal["scratch", "teacher"]
    original_share: float
    encoder_layers: int
    decoder_layers: int
    feed_forward: int
    train: TrainSettings

    def __post_init__(self) -> None:
        require(self.beam_size >= 1, "beam_size: must be 1 or more.")
        require(1 <= self.num_hypotheses <= self.beam_size, "num_hypotheses: must be between 1 and beam_size.")
        require(0 <= self.min_chrf <= 100, "min_chrf: must be between 0 and 100.")
        require(0 <= self.original_share <= 1, "original_share: must be between 0 and 1.")
        for name in ("encoder_layers", "decoder_layers", "feed_forward"):
            require(getattr(self, name) >= 0, f"{name}: must be 0 or more.")
