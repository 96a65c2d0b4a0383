from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from toy import TRAIN

from textmill.base.errors import UserError
from textmill.encode.batching import make_batch, padded
from textmill.encode.encoded_corpus import EncodedCorpus
from textmill.model.attention import Attention
from textmill.model.interface import Seq2SeqModel, num_parameters
from textmill.model.layers import FeedForward
from textmill.prune.fine_tuning import prune_and_fine_tune
from textmill.prune.importance import importance
from textmill.prune.pruning import prune_model
from textmill.prune.settings import PruneSettings
from textmill.tokenizer.special import BEGIN
from textmill.train.checkpoints import CheckpointFile
from textmill.train.run import Run

PLAIN = (0, 1, 4, 5, 6)  # rows of the toy corpus without a placeholder
WORD = 300  # the first of some ordinary pieces: neither special, nor a slot, nor a byte
PRUNE = PruneSettings(encoder_heads=1, decoder_heads=1, feed_forward_removed=0.5, multiple_of=4, importance_batches=3, fine_tune=TRAIN)


def test_a_sliced_model_computes_what_a_masked_one_computes(model: Seq2SeqModel, corpus: EncodedCorpus) -> None:
    importances = importance(model, [make_batch(corpus, range(start, start + 10)) for start in (0, 10, 20)])
    pruned = prune_model(model, importances, PRUNE)
    masked = copy.deepcopy(model)
    with torch.no_grad():
        for (name, module), (_, small) in zip(
            [item for item in masked.named_modules() if isinstance(item[1], (Attention, FeedForward))],
            [item for item in pruned.named_modules() if isinstance(item[1], (Attention, FeedForward))],
            strict=True,
        ):
            if isinstance(module, Attention):
                gone = importances[name].argmin()
                module.output.weight.view(16, 2, 8)[:, gone] = 0
            else:
                count = small.down.in_features
                keep = importances[name].sort(descending=True, stable=True).indices[:count]
                drop = torch.ones(32, dtype=torch.bool)
                drop[keep] = False
                module.down.weight[:, drop] = 0
        source, target = padded([[5, 6, 7], [8, 9]]), padded([[BEGIN, 11, 12], [BEGIN, 14, 15]])
        torch.testing.assert_close(pruned(source, target), masked(source, target), atol=1e-5, rtol=1e-5)
    assert num_parameters(pruned) < num_parameters(model)
    widths = [*pruned.shape.encoder_feed_forward, *pruned.shape.decoder_feed_forward]
    assert all(width % 4 == 0 for width in widths)
    assert sum(widths) == pytest.approx(0.5 * 32 * 3, abs=2 * 3)


def test_importance_is_the_derivative_of_the_loss_in_a_gate(model: Seq2SeqModel, corpus: EncodedCorpus) -> None:
    """Finite differences: scale the columns of the output projection for one head or unit by 1 + e."""
    batch = make_batch(corpus, range(6))
    found = importance(model, [batch])

    def loss() -> float:
        with torch.no_grad():
            is_token = batch.target_output != 0
            logits = model.logits(model(batch.source, batch.target_input)[is_token])
            return float(torch.nn.functional.cross_entropy(logits.double(), batch.target_output[is_token]))

    checked = {"decoder.0.cross_attention": ("output", slice(8, 16), 1), "encoder.0.feed_forward": ("down", slice(3, 4), 3)}
    for name, (linear, columns, place) in checked.items():
        weight = getattr(model.get_submodule(name), linear).weight
        values = []
        for scale in (1 + 1e-2, 1 - 1e-2):
            with torch.no_grad():
                old = weight[:, columns].clone()
                weight[:, columns] = old * scale
                values.append(loss())
                weight[:, columns] = old
        assert float(found[name][place]) == pytest.approx(abs(values[0] - values[1]) / 2e-2, rel=0.05, abs=1e-5)


def test_more_heads_than_there_are_is_an_error(model: Seq2SeqModel, corpus: EncodedCorpus) -> None:
    importances = importance(model, [make_batch(corpus, range(4))])
    with pytest.raises(UserError, match=r"prune\.encoder_heads is 3, but the student has 2"):
        prune_model(model, importances, PruneSettings(3, 1, 0.5, 4, 1, TRAIN))


def test_pruning_and_fine_tuning_ends_smaller_and_better(model: Seq2SeqModel, corpus: EncodedCorpus, tmp_path: object) -> None:

    losses: list[float] = []
    checkpoint = CheckpointFile(Path(str(tmp_path)), "f")
    pruned, shape, result = prune_and_fine_tune(
        model, corpus, PRUNE, Run("fine-tune", 1, checkpoint, lambda numbers, step: losses.append(numbers["train_loss"]))
    )
    assert num_parameters(pruned) < shape["student_parameters"]
    assert result.steps == TRAIN.max_steps and losses[-1] < losses[0]
