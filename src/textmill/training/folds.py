"""Cross-validation: one model a fold, trained on the pairs outside it."""

from __future__ import annotations

import numpy as np

from textmill.errors import UserError
from textmill.model.device import prepare_device
from textmill.model.factory import build_model
from textmill.model.interface import Seq2SeqModel
from textmill.model.shape import Shape
from textmill.settings.model import ModelSettings
from textmill.settings.training import TrainSettings
from textmill.tokens.shards import EncodedCorpus
from textmill.training.checkpoints import CheckpointFile
from textmill.training.loop import OnMetrics, Trainer, TrainingResult


def train_fold(
    corpus: EncodedCorpus,
    fold: int,
    model: ModelSettings,
    train: TrainSettings,
    seed: int,
    checkpoint: CheckpointFile,
    on_metrics: OnMetrics,
) -> tuple[Seq2SeqModel, TrainingResult]:
    """Train on the pairs that are not in `fold`, validate on those that are. Each fold starts from other weights: seed + fold."""
    left_out = corpus.left_out(fold).numpy()
    if not left_out.any():
        raise UserError(f"train: no development pair is in fold {fold} (folds: {', '.join(map(str, np.unique(corpus.folds)))}).")
    device = prepare_device(train.device, train.num_threads, seed + fold)
    network = build_model(Shape.of(model, corpus.vocabulary_size))
    trainer = Trainer(
        network,
        corpus,
        training_rows=np.flatnonzero(~left_out),
        validation_rows=np.flatnonzero(left_out),
        settings=train,
        seed=seed + fold,
        device=device,
        checkpoint=checkpoint,
        on_metrics=on_metrics,
        description=f"train fold {fold}",
    )
    return network, trainer.run()
