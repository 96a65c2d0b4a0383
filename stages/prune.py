"""Prune the least important attention heads and feed-forward units of the student, then fine-tune it.

in   models/distill/model.safetensors     the student
     models/distill/corpus.safetensors    training pairs of the student, to measure importance and to fine-tune
out  models/prune/model.safetensors       the pruned model
     models/prune/history.csv             learning curve of the fine-tuning
     models/prune/metrics.json            shape, steps, parameters before and after
"""

from __future__ import annotations

from textmill.base import paths
from textmill.base.files import write_json
from textmill.encode.encoded_corpus import EncodedCorpus
from textmill.model.weights import load_model, save_model
from textmill.pipeline.runner import run_stage
from textmill.prune.fine_tuning import prune_and_fine_tune
from textmill.prune.settings import PruneSettings
from textmill.tracking.runs import RunLog
from textmill.train.checkpoints import CheckpointFile
from textmill.train.history import training_metrics, write_history
from textmill.train.run import Run


def main(prune: PruneSettings, seed: int, fingerprint: str, log: RunLog) -> None:
    student = load_model(paths.STUDENT)
    pairs = EncodedCorpus.load(paths.DISTILLED_CORPUS)
    log.dataset(paths.DISTILLED_CORPUS, "distilled", len(pairs))
    checkpoint = CheckpointFile(paths.CHECKPOINTS / "prune", fingerprint)
    pruned, shape, result = prune_and_fine_tune(student, pairs, prune, Run("fine-tune", seed, checkpoint, log.metrics))
    save_model(paths.PRUNED, pruned)
    write_history(paths.PRUNE_HISTORY, result.history)
    metrics = training_metrics(pruned, result, paths.PRUNED) | shape
    write_json(paths.PRUNE_METRICS, metrics)
    log.metrics(metrics, result.steps)
    log.artifact(paths.PRUNE_HISTORY)
    checkpoint.discard()


if __name__ == "__main__":
    run_stage(main)
