"""Section distill of params.yaml."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from textmill.settings.schema import require
from textmill.train.settings import TrainSettings


@dataclass(frozen=True)
class DistillSettings:
    """Sequence-level knowledge distillation (Kim & Rush 2016) of the fold models into one student.

    labelled_by: `out_of_fold` labels each example with the fold model that did not train on it. With several repeats, these are several
        models, which decode as an ensemble. If every model trained on it, as in a single hold-out, all models label it together.
        `ensemble` labels every example with all fold models together.
    beam_size: beam size of the teachers.
    num_hypotheses: label each source with the hypothesis closest to the reference (sentence chrF) among this many best ones
        (sequence-level interpolation, Kim & Rush 2016); 1 takes the best one.
    min_chrf: labels with a lower sentence chrF against the reference are dropped; 0 keeps all.
    start_from: initial weights of the student: `scratch` is random, `teacher` is the model of fold 0. A student with fewer layers gets
        evenly spaced ones (shrink and fine-tune, Shleifer & Rush 2020).
    original_share: share of the original pairs in the training data; 1 also trains on all original pairs, 0 on the labels only.
    encoder_layers, decoder_layers, feed_forward: the size of the student; 0 takes the value of `model`, as for all other model settings.
    train: training of the student, on all development data, without a validation set, for exactly max_steps.
    """

    labelled_by: Literal["out_of_fold", "ensemble"] = "out_of_fold"
    beam_size: int = 4
    num_hypotheses: int = 4
    min_chrf: float = 30.0
    start_from: Literal["scratch", "teacher"] = "teacher"
    original_share: float = 1.0
    encoder_layers: int = 0
    decoder_layers: int = 0
    feed_forward: int = 0
    train: TrainSettings = field(default_factory=TrainSettings)

    def __post_init__(self) -> None:
        require(self.beam_size >= 1, "beam_size: must be 1 or more.")
        require(1 <= self.num_hypotheses <= self.beam_size, "num_hypotheses: must be between 1 and beam_size.")
        require(0 <= self.min_chrf <= 100, "min_chrf: must be between 0 and 100.")
        require(0 <= self.original_share <= 1, "original_share: must be between 0 and 1.")
        for name in ("encoder_layers", "decoder_layers", "feed_forward"):
            require(getattr(self, name) >= 0, f"{name}: must be 0 or more.")
