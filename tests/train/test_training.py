from __future__ import annotations

import itertools
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch._dynamo.utils
import torch._inductor.config
from torch import nn
from torch._dynamo.testing import CompileCounterWithBackend
from toy import MODEL, TRAIN

from textmill.base.errors import UserError
from textmill.base.files import sha256_of
from textmill.encode.batching import Batch
from textmill.encode.encoded_corpus import EncodedCorpus, encoded_corpus
from textmill.model.device import prepare_device
from textmill.model.factory import build_model
from textmill.model.settings import ModelSettings
from textmill.model.shape import Shape
from textmill.model.weights import save_model
from textmill.tokenizer.tokenizer import Tokenizer
from textmill.train import loop
from textmill.train.checkpoints import CheckpointFile
from textmill.train.folds import train_fold
from textmill.train.loop import Trainer
from textmill.train.objective import label_smoothed_nll
from textmill.train.profiling import TABLE, TRACE
from textmill.train.run import Run, TrainingData
from textmill.train.schedules import SCHEDULES
from textmill.train.settings import TrainSettings
from textmill.train.validation import greedy_chrf


def trainer(
    corpus: EncodedCorpus,
    settings: TrainSettings = TRAIN,
    seed: int = 1,
    checkpoint: CheckpointFile | None = None,
    model_settings: ModelSettings = MODEL,
    **more: Any,
) -> Trainer:
    device = prepare_device("cpu", 1, seed)
    model = build_model(Shape.of(model_settings, corpus.vocabulary_size))
    data = TrainingData.without(0, corpus, more.pop("tokenizer", None))
    return Trainer(model, data, settings, Run("train", 1, checkpoint, device=device, **more))


def test_training_learns(corpus: EncodedCorpus) -> None:
    run = trainer(corpus, replace(TRAIN, max_steps=240, validate_every=60))
    before = run.validation_loss()
    result = run.run()
    assert result.best_validation_loss is not None
    assert result.best_validation_loss < 0.6 * before
    assert [row.step for row in result.history] == [60, 120, 180, 240]


def test_twice_the_weight_is_half_the_epochs_in_the_same_steps(corpus: EncodedCorpus) -> None:
    plain = trainer(corpus, replace(TRAIN, max_steps=48)).run()
    doubled = trainer(replace(corpus, weight=2 * corpus.weight), replace(TRAIN, max_steps=48)).run()
    assert doubled.epochs == pytest.approx(plain.epochs / 2, rel=0.1)


def test_epochs_are_counted_in_the_batches_of_the_texts_as_they_were_cut(corpus: EncodedCorpus, tokenizer: Tokenizer) -> None:
    sampled = replace(TRAIN, max_steps=30, validate_every=30, subword_sampling=0.1)
    seen: list[np.ndarray] = []
    run = trainer(corpus, sampled, tokenizer=tokenizer, on_rows=seen.append)
    run.run()
    of_an_epoch = int(np.searchsorted(np.cumsum([len(rows) for rows in seen]), len(run.data.training_rows))) + 1
    assert trainer(corpus, replace(sampled, max_steps=of_an_epoch), tokenizer=tokenizer).run().epochs == 1


def test_a_checkpoint_of_other_settings_is_not_resumed_and_is_removed(corpus: EncodedCorpus, tmp_path: Path) -> None:
    first = CheckpointFile(tmp_path, "a")
    trainer(corpus, checkpoint=first).run()
    second = CheckpointFile(tmp_path, "b")
    assert second.load() is None
    run = trainer(corpus, checkpoint=second)
    result = run.run()
    assert result.history[0].step == TRAIN.validate_every
    assert [path.name for path in tmp_path.iterdir()] == ["b.safetensors"]
    second.path.write_bytes(second.path.read_bytes()[:100])
    assert second.load() is None, "half a checkpoint is none"
    second.discard()
    assert not list(tmp_path.iterdir())


def test_another_seed_gives_other_weights_and_the_same_one_the_same(corpus: EncodedCorpus, tmp_path: Path) -> None:
    settings = replace(TRAIN, max_steps=2, validate_every=2, warmup_steps=0)
    written = []
    for number, seed in enumerate((1, 1, 2)):
        model, _ = train_fold(corpus, 0, MODEL, settings, Run("train", seed, CheckpointFile(tmp_path / str(number), "a")))
        save_model(tmp_path / f"{number}.safetensors", model)
        written.append((tmp_path / f"{number}.safetensors").read_bytes())
    assert written[0] == written[1] != written[2]


def test_early_stopping_keeps_the_best_weights(corpus: EncodedCorpus) -> None:
    settings = replace(TRAIN, max_steps=400, validate_every=4, patience=3, learning_rate=0.3, schedule="constant", average_checkpoints=1)
    run = trainer(corpus, settings)
    result = run.run()
    losses = [row.validation_loss for row in result.history if row.validation_loss is not None]
    assert result.stopped_early and result.steps < 400
    assert len(losses) - 1 - int(np.argmin(losses)) == 3
    assert result.best_validation_loss == pytest.approx(min(losses), rel=1e-5)


def test_a_loss_that_is_not_finite_ends_the_training_within_ten_steps(corpus: EncodedCorpus, tmp_path: Path) -> None:
    checkpoint = CheckpointFile(tmp_path, "f")
    run = trainer(corpus, replace(TRAIN, max_steps=100), checkpoint=checkpoint)
    step = run._step

    def poisoned(batches: list[Batch]) -> tuple[torch.Tensor, int]:
        loss, count = step(batches)
        return loss * (float("nan") if run.state.position.step > 21 else 1.0), count

    run._step = poisoned  # type: ignore[method-assign]
    with pytest.raises(UserError, match="no longer finite at step"):
        run.run()
    assert run.state.position.step <= 31
    assert checkpoint.load() is not None


def test_a_fold_that_no_pair_is_in_is_named(corpus: EncodedCorpus, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no development pair is in fold 7"):
        train_fold(corpus, 7, MODEL, TRAIN, Run("train", 1, CheckpointFile(tmp_path, "f")))


def test_step_lr_is_that_of_torch() -> None:
    settings = replace(TRAIN, schedule="step_lr", learning_rate=0.1, step_size=7, gamma=0.3)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    peer = torch.optim.lr_scheduler.StepLR(optimizer, step_size=7, gamma=0.3)
    for step in range(1, 40):
        assert SCHEDULES["step_lr"](step, settings) == pytest.approx(optimizer.param_groups[0]["lr"])
        optimizer.step()
        peer.step()


def test_warmup_stable_decay_falls_in_a_line_over_its_last_steps() -> None:
    settings = replace(TRAIN, schedule="warmup_stable_decay", max_steps=100, warmup_steps=10, decay_steps=20, learning_rate=0.5)
    rates = [SCHEDULES["warmup_stable_decay"](step, settings) for step in range(1, 101)]
    assert rates[9:81] == pytest.approx([0.5] * 72)
    assert rates[80:] == pytest.approx([0.5 * left / 20 for left in range(20, 0, -1)])


@pytest.mark.parametrize("name", ["inverse_sqrt", "cosine", "constant"])
def test_schedules_warm_up_to_the_highest_rate_and_never_exceed_it(name: str) -> None:
    settings = replace(TRAIN, max_steps=100, warmup_steps=10, learning_rate=0.5)
    rates = [SCHEDULES[name](step, settings) for step in range(1, 101)]
    assert rates[:10] == pytest.approx([0.05 * step for step in range(1, 11)])
    assert max(rates) == pytest.approx(0.5)
    assert all(first >= second for first, second in itertools.pairwise(rates[9:]))


def test_every_schedule_of_the_settings_is_listed_and_the_reverse() -> None:
    import typing

    assert set(typing.get_args(typing.get_type_hints(TrainSettings)["schedule"])) == set(SCHEDULES)


def test_label_smoothing_is_the_formula() -> None:
    torch.manual_seed(0)
    logits, targets = torch.randn(6, 11), torch.randint(0, 11, (6,))
    log = torch.log_softmax(logits.double(), -1)
    expected = -(0.9 * log[torch.arange(6), targets] + 0.1 * log.mean(-1)).mean()
    assert float(label_smoothed_nll(logits, targets, 0.1)) == pytest.approx(float(expected), abs=1e-6)


@pytest.mark.parametrize(
    "change",
    [
        {"precision": "bfloat16"},
        {"accumulate": 2, "batch_tokens": 100},
        {"ema_decay": 0.9},
        {"r_drop": 1.0},
        {"token_dropout": 0.05, "subword_sampling": 0.5},
        {"schedule": "warmup_stable_decay", "decay_steps": 60, "optimizer": "adamw", "weight_decay": 0.01},
    ],
)
def test_training_learns_with_every_option(corpus: EncodedCorpus, tokenizer: Tokenizer, change: dict[str, object]) -> None:
    run = trainer(corpus, replace(TRAIN, max_steps=200, validate_every=100, **change), tokenizer=tokenizer)  # type: ignore[arg-type]
    before = run.validation_loss()
    result = run.run()
    assert result.best_validation_loss is not None and result.best_validation_loss < 0.75 * before
    assert all(parameter.dtype == torch.float32 for parameter in run.model.parameters())


@pytest.mark.parametrize("architecture", ["encoder_decoder", "decoder_only"])
def test_layers_are_compiled_once_a_stack_for_batches_of_all_shapes_and_learn_the_same(
    corpus: EncodedCorpus, architecture: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without dropout, because its masks are not compiled on a CPU. aot_eager needs no compiler. A batch of one row is a separate graph."""
    plainly = nn.Module.compile
    counter = CompileCounterWithBackend("aot_eager")
    monkeypatch.setattr(nn.Module, "compile", lambda self, **options: plainly(self, backend=counter, **options))
    monkeypatch.setattr(loop, "_COMPILED_DEVICES", ("cpu",))
    torch._dynamo.reset()
    shapes, losses = set(), []
    model = replace(MODEL, architecture=architecture, encoder_layers=4, decoder_layers=4, dropout=0.0, attention_dropout=0.0)
    for is_compiled in (False, True):
        settings = replace(TRAIN, max_steps=12, validate_every=12, compile=is_compiled)
        run = trainer(
            corpus, settings, model_settings=model, on_rows=lambda rows: shapes.add((len(rows), int(corpus.lengths()[0][rows].max())))
        )
        [row] = run.run().history
        losses.append((row.train_loss, row.validation_loss))
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)
    assert len(shapes) > 6
    stacks = 2 if architecture == "encoder_decoder" else 1
    # Not once a layer. More than once a stack because here, in one batch, the length of a text happens to be the model's width.
    assert stacks <= counter.frame_count < 4 * stacks
    assert not torch._dynamo.utils.counters["graph_break"]


def test_a_compiler_that_is_missing_is_named_in_one_line(corpus: EncodedCorpus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "_COMPILED_DEVICES", ("cpu",))
    monkeypatch.setattr(torch._inductor.config.cpp, "cxx", (None, "no-such-compiler"))
    torch._dynamo.reset()
    with pytest.raises(UserError, match=r"^torch.compile failed: .*no-such-compiler.* set compile to false.$"):
        trainer(corpus, replace(TRAIN, compile=True), model_settings=replace(MODEL, dropout=0.0, attention_dropout=0.0)).run()


def test_stopping_on_chrf_keeps_the_model_with_the_best_outputs(corpus: EncodedCorpus, tokenizer: Tokenizer) -> None:
    given = iter([10.0, 30.0, 20.0, 25.0, 40.0])
    settings = replace(TRAIN, max_steps=60, validate_every=6, patience=2, stop_on="chrf", decoded_pairs=9, average_checkpoints=1)
    asked = []
    run = trainer(corpus, settings, tokenizer=tokenizer, output_score=lambda model, rows: (asked.append(len(rows)), next(given))[1])
    result = run.run()
    assert [row.chrf for row in result.history] == [10.0, 30.0, 20.0, 25.0] and result.stopped_early
    assert asked == [9] * 4
    best = trainer(corpus, replace(settings, max_steps=12, stop_on="loss", schedule="inverse_sqrt"))
    best.run()
    for kept, wanted in zip(run.model.parameters(), best.optimizer.weights, strict=True):
        assert torch.equal(kept, wanted)


def test_the_chrf_of_greedy_outputs_grows_with_training(corpus: EncodedCorpus, tokenizer: Tokenizer) -> None:
    score = greedy_chrf(corpus, tokenizer)
    run = trainer(corpus, replace(TRAIN, max_steps=240, validate_every=120))
    rows = np.arange(20)
    before = score(run.model.eval(), rows)
    run.run()
    assert score(run.model, rows) > before + 5


def test_the_chrf_of_outputs_is_of_whole_sources_where_targets_are_short(
    corpus: EncodedCorpus, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    rows = [corpus.source(row) for row in range(4)]
    labels = encoded_corpus(rows, [[300]] * 4, np.zeros((4, 1)), corpus.vocabulary_size)
    model = trainer(corpus).model.eval()
    encode = model.encode
    monkeypatch.setattr(model, "encode", lambda source: (seen.append(source.shape[1]), encode(source))[1])
    greedy_chrf(labels, tokenizer)(model, np.arange(4))
    assert max(seen) == max(map(len, rows)) > 1


def test_a_profile_is_written_and_changes_nothing(corpus: EncodedCorpus, tmp_path: Path) -> None:
    plain = trainer(corpus)
    plain.run()
    profiled = trainer(corpus, replace(TRAIN, profile=True), profile_folder=tmp_path)
    profiled.run()
    assert {"addmm", "traceEvents"} <= set(re.findall("addmm|traceEvents", (tmp_path / TABLE).read_text() + (tmp_path / TRACE).read_text()))
    assert all(torch.equal(a, b) for a, b in zip(plain.model.parameters(), profiled.model.parameters(), strict=True))


def test_a_fold_starts_from_an_earlier_model_that_is_the_one_it_was_told(corpus: EncodedCorpus, tmp_path: Path) -> None:
    def fold(name: str, **change: Any) -> float:
        settings = replace(TRAIN, max_steps=30, validate_every=30, **change)
        network, result = train_fold(corpus, 0, MODEL, settings, Run("train", 1, CheckpointFile(tmp_path / "checkpoints", name)))
        save_model(tmp_path / f"{name}.safetensors", network)
        assert result.best_validation_loss is not None
        return result.best_validation_loss

    first = fold("first")
    file = tmp_path / "first.safetensors"
    assert fold("second", init_from=str(file), init_sha256=sha256_of(file)) < first - 0.2
    with pytest.raises(UserError, match="init_sha256"):
        fold("third", init_from=str(file), init_sha256="0")


def test_a_fold_starts_from_word_vectors(corpus: EncodedCorpus, tmp_path: Path) -> None:
    model = replace(MODEL, embeddings="word2vec")
    settings = replace(TRAIN, max_steps=6)
    results = [
        train_fold(corpus, 0, kind, settings, Run("train", 1, CheckpointFile(tmp_path, kind.embeddings)))[1]
        for kind in (model, model, MODEL)
    ]
    losses = [result.history[0].validation_loss for result in results]
    assert losses[0] == losses[1] != losses[2]
