"""Inputs and results of a training, apart from the model and its settings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from textmill.encode.encoded_corpus import EncodedCorpus
from textmill.model.device import prepare_device
from textmill.model.interface import Seq2SeqModel
from textmill.tokenizer.tokenizer import Tokenizer
from textmill.train.checkpoints import CheckpointFile
from textmill.train.settings import TrainSettings

OnMetrics = Callable[[dict[str, float], int], None]
_CPU = torch.device("cpu")
OutputScore = Callable[[Seq2SeqModel, np.ndarray], float]  # model, rows of the corpus -> chrF of greedy outputs


@dataclass(frozen=True)
class TrainingData:
    """The data of a training.

    training_rows: rows of `corpus` to train on.
    validation_rows: rows of `corpus` to validate on. With None, training does not stop early, and the final weights are kept.
    tokenizer: needed for subword sampling.
    """

    corpus: EncodedCorpus
    training_rows: np.ndarray
    validation_rows: np.ndarray | None = None
    tokenizer: Tokenizer | None = None

    @classmethod
    def all_of(cls, corpus: EncodedCorpus) -> TrainingData:
        """Train on all rows, without a validation set."""
        return cls(corpus, np.arange(len(corpus)))

    @classmethod
    def without(cls, fold: int, corpus: EncodedCorpus, tokenizer: Tokenizer | None = None) -> TrainingData:
        """Train on the rows outside `fold`, validate on the rows in it."""
        held_out = corpus.held_out(fold).numpy()
        return cls(corpus, np.flatnonzero(~held_out), np.flatnonzero(held_out), tokenizer)


@dataclass(frozen=True)
class Run:
    """The name, seed, device and callbacks of one training.

    description: start of its log lines and error messages.
    checkpoint: for resuming, or None.
    on_metrics: called at every validation with metrics and step.
    on_rows: called with the rows of every batch.
    output_score: needed for `stop_on: chrf`.
    profile_folder: output folder of the profiler, or None.
    device: set by `on`.
    """

    description: str
    seed: int
    checkpoint: CheckpointFile | None = None
    on_metrics: OnMetrics | None = None
    on_rows: Callable[[np.ndarray], None] | None = None
    output_score: OutputScore | None = None
    profile_folder: Path | None = None
    device: torch.device = _CPU

    def on(self, settings: TrainSettings) -> Run:
        """Return this run on the device of `settings`, and seed torch. Call it before the model is built.

        Raises UserError as `prepare_device` does.
        """
        return replace(self, device=prepare_device(settings.device, settings.num_threads, self.seed))


@dataclass(frozen=True)
class HistoryRow:
    """The metrics of one validation. Losses are in nats per token.

    train_loss: mean since the previous validation, with label smoothing.
    validation_loss: cross entropy without label smoothing; None without a validation set.
    chrf: of greedy outputs; None unless `stop_on` is chrf.
    """

    step: int
    train_loss: float
    validation_loss: float | None
    learning_rate: float
    chrf: float | None = None

    @property
    def goodness(self) -> float:
        """Value that is highest for the best validation: chrF, or the negative loss. One of the two must be present."""
        if self.chrf is not None:
            return self.chrf
        assert self.validation_loss is not None
        return -self.validation_loss


@dataclass
class TrainingResult:
    """The result of a training.

    best_validation_loss: of the weights that are kept; None without a validation set.
    padding_share: share of padding among all positions in the batches of the first epoch, without subword sampling.
    """

    steps: int
    epochs: float
    padding_share: float
    stopped_early: bool
    best_validation_loss: float | None
    history: list[HistoryRow]
