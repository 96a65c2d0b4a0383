"""Cross-validation: one model a fold, trained on the others."""

from __future__ import annotations

import numpy as np

from textmill.errors import UserError
from textmill.model.device import prepare_device
from textmill.model.transformer import Shape, Transformer
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
) -> tuple[Transformer, TrainingResult]:
    """Train on all folds but `fold`, validate on it. Each fold starts from other weights: seed + fold."""
    folds = corpus.fold.numpy()
    if not (folds == fold).any():
        raise UserError(f"train: no development pair is in fold {fold} (folds: {', '.join(map(str, np.unique(folds)))}).")
    device = prepare_device(train.device, train.num_threads, seed + fold)
    network = Transformer(Shape.of(model, corpus.vocabulary_size))
    trainer = Trainer(
        network,
        corpus,
        training_rows=np.flatnonzero(folds != fold),
        validation_rows=np.flatnonzero(folds == fold),
        settings=train,
        seed=seed + fold,
        device=device,
        checkpoint=checkpoint,
        on_metrics=on_metrics,
        description=f"train fold {fold}",
    )
    return network, trainer.run()
