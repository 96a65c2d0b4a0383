"""Pruning as a whole: measure importance, cut, train again."""

from __future__ import annotations

from typing import Any

import numpy as np

from textmill.encode.batching import make_batch, token_budget_batches
from textmill.encode.shards import EncodedCorpus
from textmill.model.device import prepare_device
from textmill.model.interface import Seq2SeqModel, num_parameters
from textmill.prune.importance import importance
from textmill.prune.pruning import prune_model
from textmill.prune.settings import PruneSettings
from textmill.train.checkpoints import CheckpointFile
from textmill.train.loop import OnMetrics, Trainer, TrainingResult


def prune_and_heal(
    student: Seq2SeqModel, pairs: EncodedCorpus, prune: PruneSettings, seed: int, checkpoint: CheckpointFile, on_metrics: OnMetrics
) -> tuple[Seq2SeqModel, dict[str, Any], TrainingResult]:
    """Returns the smaller model, its shape beside the student's, and how its training ended.

    pairs: what the student learned; importance is measured on `importance_batches` of it, and it heals on all.
    """
    device = prepare_device(prune.heal.device, prune.heal.num_threads, seed)
    student = student.to(device)
    rows = np.arange(len(pairs))
    batches = token_budget_batches(*pairs.lengths(), rows, prune.heal.batch_tokens, seed, epoch=0)[: prune.importance_batches]
    importances = importance(student, [make_batch(pairs, batch).to(device) for batch in batches])
    pruned = prune_model(student, importances, prune)
    trainer = Trainer(
        pruned,
        pairs,
        training_rows=rows,
        validation_rows=None,
        settings=prune.heal,
        seed=seed,
        device=device,
        checkpoint=checkpoint,
        on_metrics=on_metrics,
        description="heal",
    )
    result = trainer.run()
    shape = {
        "student_parameters": num_parameters(student),
        "encoder_heads": pruned.shape.encoder_heads,
        "decoder_heads": pruned.shape.decoder_heads,
        "encoder_feed_forward": list(pruned.shape.encoder_feed_forward),
        "decoder_feed_forward": list(pruned.shape.decoder_feed_forward),
    }
    return pruned, shape, result
