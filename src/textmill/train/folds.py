"""Cross-validation: one model per fold, trained on the pairs outside the fold."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from torch import distributed

from textmill.base.errors import UserError
from textmill.encode.encoded_corpus import EncodedCorpus
from textmill.model.interface import Seq2SeqModel
from textmill.model.settings import ModelSettings
from textmill.tokenizer.tokenizer import Tokenizer
from textmill.train.launching import Job, train_in_processes
from textmill.train.loop import fit
from textmill.train.run import Run, TrainingData, TrainingResult
from textmill.train.settings import TrainSettings
from textmill.train.starting import new_model


def train_fold(
    corpus: EncodedCorpus, fold: int, model: ModelSettings, train: TrainSettings, run: Run, tokenizer: Tokenizer | None = None
) -> tuple[Seq2SeqModel, TrainingResult]:
    """Train on the pairs outside `fold` and validate on the pairs in it. The seed is run.seed + fold, so initial weights differ per fold.

    If train.parallel is not none, start the processes and wait for them, unless this is one of the processes. The run must then
    have a checkpoint.
    Raises UserError if no pair is in `fold`.
    """
    data = TrainingData.without(fold, corpus, tokenizer)
    if len(data.training_rows) == len(corpus):
        raise UserError(f"no development pair is in fold {fold} (folds: {', '.join(map(str, np.unique(corpus.folds)))}).")
    run = replace(run, description=f"{run.description} fold {fold}")
    if train.parallel != "none" and not distributed.is_initialized():
        assert run.checkpoint is not None
        job = Job(run.checkpoint.path.parent / "job", fold, model, train, run.seed, run.checkpoint.path.stem)
        return train_in_processes(job, corpus, tokenizer, run)
    run = replace(run, seed=run.seed + fold).on(train)
    network = new_model(model, data, train, run.seed)
    return network, fit(network, data, train, run)
