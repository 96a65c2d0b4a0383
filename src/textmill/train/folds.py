"""Cross-validation: one model a fold, trained on the pairs outside it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from torch import distributed

from textmill.base.errors import UserError
from textmill.encode.shards import EncodedCorpus
from textmill.model.device import prepare_device
from textmill.model.factory import build_model
from textmill.model.interface import Seq2SeqModel
from textmill.model.settings import ModelSettings
from textmill.model.shape import Shape
from textmill.tokenizer.tokenizer import Tokenizer
from textmill.train.checkpoints import CheckpointFile
from textmill.train.launching import Job, train_in_processes
from textmill.train.loop import OnMetrics, OutputScore, Trainer, TrainingResult
from textmill.train.settings import TrainSettings
from textmill.train.starting import start


def train_fold(
    corpus: EncodedCorpus,
    fold: int,
    model: ModelSettings,
    train: TrainSettings,
    seed: int,
    checkpoint: CheckpointFile,
    on_metrics: OnMetrics,
    tokenizer: Tokenizer | None = None,
    output_score: OutputScore | None = None,
    profile_folder: Path | None = None,
) -> tuple[Seq2SeqModel, TrainingResult]:
    """Train on the pairs that are not in `fold`, validate on those that are. Each fold starts from other weights: seed + fold.

    See `Trainer` for what is handed on to it. With `parallel`, processes are started for it, unless this is one of them.
    """
    left_out = corpus.left_out(fold).numpy()
    if not left_out.any():
        raise UserError(f"train: no development pair is in fold {fold} (folds: {', '.join(map(str, np.unique(corpus.folds)))}).")
    description = f"train fold {fold}"
    if train.parallel != "none" and not distributed.is_initialized():
        job = Job(checkpoint.path.parent / "job", fold, model, train, seed, checkpoint.path.stem)
        return train_in_processes(job, corpus, tokenizer, description, on_metrics, profile_folder)
    device = prepare_device(train.device, train.num_threads, seed + fold)
    network = build_model(Shape.of(model, corpus.vocabulary_size))
    start(network, corpus, np.flatnonzero(~left_out), model, train, seed + fold)
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
        description=description,
        tokenizer=tokenizer,
        output_score=output_score,
        profile_folder=profile_folder,
    )
    return network, trainer.run()
