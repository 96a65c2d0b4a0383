"""Train the model of one fold on the other folds.

in   data/encode/development.safetensors             all development pairs as token ids
     data/tokenizer/tokenizer.model                  for subword sampling, and to score outputs (stop_on: chrf)
out  models/train/${item.fold}/model.safetensors     weights and shape
     models/train/${item.fold}/history.csv           learning curve, one row per validation
     models/train/${item.fold}/metrics.json          steps, epochs, validation loss, parameters
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

from textmill.base import paths
from textmill.base.files import write_json
from textmill.encode.encoded_corpus import EncodedCorpus
from textmill.model.settings import ModelSettings
from textmill.model.weights import save_model
from textmill.pipeline.runner import run_stage
from textmill.tokenizer.tokenizer import Tokenizer
from textmill.tracking.runs import RunLog
from textmill.tracking.store import fetched
from textmill.train.checkpoints import CheckpointFile
from textmill.train.folds import train_fold
from textmill.train.history import training_metrics, write_history
from textmill.train.run import Run
from textmill.train.settings import TrainSettings
from textmill.train.validation import greedy_chrf


def main(fold: str, model: ModelSettings, train: TrainSettings, seed: int, fingerprint: str, log: RunLog) -> None:
    corpus = EncodedCorpus.load(paths.ENCODED)
    log.dataset(paths.ENCODED, "encoded", len(corpus))
    checkpoint = CheckpointFile(paths.CHECKPOINTS / "train" / fold, fingerprint)
    train = replace(train, init_from=fetched(train.init_from))
    tokenizer = Tokenizer.load(paths.TOKENIZER)
    with tempfile.TemporaryDirectory(prefix="textmill-profile-") as folder:
        run = Run("train", seed, checkpoint, log.metrics, output_score=greedy_chrf(corpus, tokenizer), profile_folder=Path(folder))
        network, result = train_fold(corpus, int(fold), model, train, run, tokenizer)
        log.artifacts(Path(folder), "profile")
    save_model(paths.fold_model(int(fold)), network)
    write_history(paths.fold_history(int(fold)), result.history)
    metrics = training_metrics(network, result, paths.fold_model(int(fold)))
    write_json(paths.fold_metrics(int(fold)), metrics)
    log.metrics(metrics, result.steps)
    log.artifact(paths.fold_history(int(fold)))
    checkpoint.discard()


if __name__ == "__main__":
    run_stage(main)
