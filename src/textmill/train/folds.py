"""Cross-validation: one model a fold, trained on the pairs outside it."""

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
    """Train on the pairs that are not in `fold`, validate on those that are. Each fold starts from other weights: run.seed + fold.

    With `parallel`, processes are started for it, unless this is one of them; the run must have a checkpoint then.
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
