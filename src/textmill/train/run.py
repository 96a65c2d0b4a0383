"""What goes into a training beside the model and its settings, and what comes out of it."""

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
OutputScore = Callable[[Seq2SeqModel, np.ndarray], float]  # of greedy outputs for rows of the corpus, chrF


@dataclass(frozen=True)
class TrainingData:
    """training_rows: of `corpus`. validation_rows: None: then nothing stops early, and the last weights are kept.

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
        """Train on the rows that are not in `fold`, validate on those that are."""
        held_out = corpus.held_out(fold).numpy()
        return cls(corpus, np.flatnonzero(~held_out), np.flatnonzero(held_out), tokenizer)


@dataclass(frozen=True)
class Run:
    """One training: by what name, with what randomness, where, and who is told.

    description: how its lines and errors begin. device: from `on`. checkpoint: where the state is kept for resuming, or None.
    on_metrics: called at every validation with numbers and step. on_rows: told the rows of every batch. output_score: needed for
    `stop_on: chrf`. profile_folder: where `profile` writes, or None.
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
        """This run on the device of `settings`, with torch seeded: to be called before the model is made. Raises as `prepare_device`."""
        return replace(self, device=prepare_device(settings.device, settings.num_threads, self.seed))


@dataclass(frozen=True)
class HistoryRow:
    """One validation. train_loss: mean since the one before, label smoothing included; losses in nats per token.

    validation_loss: cross entropy without smoothing, None without a validation set. chrf: of greedy outputs, None unless
    `stop_on` asks for it.
    """

    step: int
    train_loss: float
    validation_loss: float | None
    learning_rate: float
    chrf: float | None = None

    @property
    def goodness(self) -> float:
        """What the best validation has most of. The row must have a chrF or a loss."""
        if self.chrf is not None:
            return self.chrf
        assert self.validation_loss is not None
        return -self.validation_loss


@dataclass
class TrainingResult:
    """How a training ended. best_validation_loss: of the weights that are kept, None without a validation set.

    padding_share: of all positions in the batches of the first epoch, before subword sampling cuts the texts anew.
    """

    steps: int
    epochs: float
    padding_share: float
    stopped_early: bool
    best_validation_loss: float | None
    history: list[HistoryRow]
