"""Prune a model: measure importance, remove heads and units, then fine-tune."""

from __future__ import annotations

from typing import Any

from textmill.encode.batching import make_batch, token_budget_batches
from textmill.encode.encoded_corpus import EncodedCorpus
from textmill.model.interface import Seq2SeqModel, num_parameters
from textmill.prune.importance import importance
from textmill.prune.pruning import prune_model
from textmill.prune.settings import PruneSettings
from textmill.train.loop import fit
from textmill.train.run import Run, TrainingData, TrainingResult


def prune_and_fine_tune(
    student: Seq2SeqModel, pairs: EncodedCorpus, prune: PruneSettings, run: Run
) -> tuple[Seq2SeqModel, dict[str, Any], TrainingResult]:
    """Prune the student and fine-tune it. Returns the pruned model, its sizes, and the training result.

    pairs: the training pairs of the student. Importance is measured on `importance_batches` batches; fine-tuning uses all pairs.
    """
    run = run.on(prune.fine_tune)
    student = student.to(run.device)
    data = TrainingData.all_of(pairs)
    batches = token_budget_batches(*pairs.lengths(), data.training_rows, prune.fine_tune.batch_tokens, run.seed, epoch=0)
    few = [make_batch(pairs, batch).to(run.device) for batch in batches[: prune.importance_batches]]
    pruned = prune_model(student, importance(student, few), prune)
    result = fit(pruned, data, prune.fine_tune, run)
    shape = {
        "student_parameters": num_parameters(student),
        "encoder_heads": pruned.shape.encoder_heads,
        "decoder_heads": pruned.shape.decoder_heads,
        "encoder_feed_forward": list(pruned.shape.encoder_feed_forward),
        "decoder_feed_forward": list(pruned.shape.decoder_feed_forward),
    }
    return pruned, shape, result
