"""What recording CUDA graphs requires of a training, tested on a CPU, where a recording just calls the function."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from toy import MODEL, TRAIN

from textmill.encode.batching import Batch, make_batch, padded_to_bucket
from textmill.encode.encoded_corpus import EncodedCorpus
from textmill.model.device import prepare_device
from textmill.model.factory import build_model
from textmill.model.shape import Shape
from textmill.tokenizer.special import PAD
from textmill.train import cuda_graphs, loop, objective
from textmill.train.loop import Trainer
from textmill.train.objective import Objective
from textmill.train.run import Run, TrainingData, TrainingResult
from textmill.train.settings import TrainSettings

STILL = replace(MODEL, dropout=0.0, attention_dropout=0.0)


@pytest.fixture
def recordings(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Return everything that is recorded, while a CPU counts as a device with CUDA graphs."""
    recorded: list[Any] = []

    def record(function: Any, pool: Any) -> Any:
        recorded.append(function)
        return function

    monkeypatch.setattr(cuda_graphs, "_recorded", record)
    monkeypatch.setattr(loop, "_GRAPHED_DEVICES", ("cpu",))
    monkeypatch.setattr(objective, "_FUSED_DEVICES", ("cpu",))
    return recorded


def trained(corpus: EncodedCorpus, settings: TrainSettings, architecture: str = "encoder_decoder") -> tuple[Trainer, TrainingResult]:
    device = prepare_device("cpu", 1, 1)
    model = build_model(Shape.of(replace(STILL, architecture=architecture), corpus.vocabulary_size))
    trainer = Trainer(model, TrainingData.without(0, corpus), settings, Run("train", 1, device=device))
    return trainer, trainer.run()


@pytest.mark.parametrize("architecture", ["encoder_decoder", "decoder_only"])
@pytest.mark.parametrize("changes", [{}, {"accumulate": 3, "r_drop": 0.5, "ema_decay": 0.9}, {"precision": "bfloat16"}], ids=str)
def test_a_recorded_training_learns_what_a_plain_one_does(
    corpus: EncodedCorpus, recordings: list[Any], architecture: str, changes: dict[str, Any]
) -> None:
    settings = replace(TRAIN, precision="float32", max_steps=30, validate_every=10, batch_tokens=300)
    settings = replace(settings, **changes)
    plain = trained(corpus, replace(settings, cuda_graphs="never"), architecture)[1]
    assert not recordings
    recorded = trained(corpus, settings, architecture)[1]
    tolerance = 1e-2 if settings.precision == "bfloat16" else 1e-4
    for ours, theirs in zip(recorded.history, plain.history, strict=True):
        assert ours.train_loss == pytest.approx(theirs.train_loss, rel=tolerance)
        assert ours.validation_loss == pytest.approx(theirs.validation_loss, rel=tolerance)
    assert 2 <= len(recordings) < 30 * settings.accumulate, "one per shape, and one of the update"


@pytest.mark.parametrize(
    ("changes", "architecture", "limit", "is_recorded"),
    [
        ({}, "encoder_decoder", 20_000_000, True),
        ({}, "encoder_decoder", 100, False),  # parameters from which on `auto` records nothing
        ({"cuda_graphs": "always"}, "encoder_decoder", 100, True),
        ({"cuda_graphs": "never"}, "encoder_decoder", 20_000_000, False),
        ({"compile": True}, "encoder_decoder", 20_000_000, False),
        ({}, "lstm", 20_000_000, False),
    ],
)
def test_small_models_are_recorded_where_that_works(
    corpus: EncodedCorpus, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], architecture: str, limit: int, is_recorded: bool
) -> None:
    monkeypatch.setattr(loop, "_GRAPHED_PARAMETERS", limit)
    model = build_model(Shape.of(replace(STILL, architecture=architecture), corpus.vocabulary_size))
    assert loop._uses_graphs(replace(TRAIN, **changes), model) is is_recorded


def test_nothing_that_is_recorded_moves_in_memory(corpus: EncodedCorpus, recordings: list[Any]) -> None:
    trainer, _ = trained(corpus, replace(TRAIN, precision="bfloat16", max_steps=3, validate_every=3, warmup_steps=0))
    places = {name: weight.grad.data_ptr() for name, weight in zip(trainer.optimizer.names, trainer.optimizer.weights, strict=True)}
    rates = [group["lr"].data_ptr() for group in trainer.optimizer.adam.param_groups]
    assert trainer.graphs is not None
    trainer.model.to(torch.bfloat16).train()
    trainer._step([make_batch(corpus, range(5))] * 2)
    assert places == {n: w.grad.data_ptr() for n, w in zip(trainer.optimizer.names, trainer.optimizer.weights, strict=True)}
    assert rates == [group["lr"].data_ptr() for group in trainer.optimizer.adam.param_groups]


def test_a_padded_batch_has_the_loss_and_the_gradients_of_its_own_rows(corpus: EncodedCorpus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objective, "_FUSED_DEVICES", ("cpu",))
    model = build_model(Shape.of(STILL, corpus.vocabulary_size)).train()
    batch = make_batch(corpus, range(19))
    results = []
    for each in (batch, padded_to_bucket(batch)):
        model.zero_grad()
        loss = Objective(model, 0.1, 0.0)(each, 7.0)
        loss.backward()
        results.append((loss.detach(), [parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None]))
    torch.testing.assert_close(results[0], results[1], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("rows", [1, 7, 8, 9, 100, 409])
def test_bucketed_shapes_are_few_and_hold_the_batch(rows: int) -> None:
    source, target = torch.full((rows, 9), 7), torch.full((rows, 17), 8)
    padded = padded_to_bucket(Batch(source, target, target, torch.arange(target.numel())))
    assert padded.source.shape[1] == 16 and padded.target_input.shape[1] == padded.target_output.shape[1] == 24
    assert rows <= len(padded.source) <= rows * 1.15
    assert torch.equal(padded.source[:rows, :9], source) and torch.equal(padded.target_output[:rows, :17], target)
    assert (padded.target_output != PAD).sum() == target.numel() == len(padded.indices)
    assert (padded.source != PAD).any(1).all(), "attention on nothing gives no number"
