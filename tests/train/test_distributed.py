from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from toy import MODEL, TRAIN

from textmill.base.errors import UserError
from textmill.encode.batching import make_batch
from textmill.encode.encoded_corpus import EncodedCorpus
from textmill.train.checkpoints import CheckpointFile
from textmill.train.distributed import Processes
from textmill.train.folds import train_fold
from textmill.train.run import HistoryRow, OnMetrics, Run
from textmill.train.settings import TrainSettings

MODEL = replace(MODEL, dropout=0.0, attention_dropout=0.0)


def trained(
    corpus: EncodedCorpus, settings: TrainSettings, folder: Path, on_metrics: OnMetrics = lambda numbers, step: None
) -> tuple[list[HistoryRow], dict[str, torch.Tensor]]:
    network, result = train_fold(corpus, 0, MODEL, settings, Run("train", 1, CheckpointFile(folder, "f"), on_metrics))
    return result.history, network.state_dict()


Trained = tuple[list[HistoryRow], dict[str, torch.Tensor]]


def assert_same(found: Trained, wanted: Trained, tolerance: float) -> None:
    assert [row.step for row in found[0]] == [row.step for row in wanted[0]]
    for row, peer in zip(found[0], wanted[0], strict=True):
        assert (row.train_loss, row.validation_loss) == pytest.approx((peer.train_loss, peer.validation_loss), abs=tolerance)
    for name, weight in wanted[1].items():
        # Key biases do not change the output. Their gradient is rounding noise, which Adam scales up to full steps.
        parts = [slice(0, MODEL.width), slice(2 * MODEL.width, None)] if name.endswith("projection.bias") else [slice(None)]
        assert all(torch.allclose(found[1][name][part], weight[part], atol=tolerance) for part in parts), name


@pytest.mark.parametrize("change", [{"parallel": "data"}, {"parallel": "sharded"}])
def test_two_processes_train_as_one_does_and_one_goes_on_from_their_checkpoint(
    corpus: EncodedCorpus, tmp_path: Path, change: dict[str, object]
) -> None:
    settings = replace(TRAIN, accumulate=2, batch_tokens=100, ema_decay=0.9, max_steps=24)
    wanted = trained(corpus, replace(settings, max_steps=12), tmp_path / "half")
    seen: list[int] = []
    two = replace(settings, max_steps=12, processes=2, **change)  # type: ignore[arg-type]
    assert_same(trained(corpus, two, tmp_path / "two", lambda numbers, step: seen.append(step)), wanted, tolerance=1e-5)
    assert seen == [6, 12]
    # After 24 steps, key biases have drifted apart, so other weights differ slightly too.
    assert_same(trained(corpus, settings, tmp_path / "two"), trained(corpus, settings, tmp_path / "one"), tolerance=1e-4)


def rank(process: psutil.Process) -> str | None:
    try:
        return process.environ().get("RANK")
    except psutil.Error:  # it has ended
        return None


def test_a_killed_process_is_started_again_and_the_curve_stays_the_same(corpus: EncodedCorpus, tmp_path: Path) -> None:
    settings = replace(TRAIN, max_steps=150, validate_every=30)
    killed: list[int] = []

    def kill(numbers: dict[str, float], step: int) -> None:
        if not killed:
            killed.extend(child.pid for child in psutil.Process().children(recursive=True) if rank(child) == "1")
            for pid in killed:
                os.kill(pid, signal.SIGKILL)

    found = trained(corpus, replace(settings, parallel="data", processes=2), tmp_path / "two", kill)
    assert len(killed) == 1
    wanted = trained(corpus, settings, tmp_path / "one")
    for row, peer in zip(found[0], wanted[0], strict=True):
        assert (row.step, row.validation_loss) == (peer.step, pytest.approx(peer.validation_loss, abs=1e-3))


def test_a_users_mistake_ends_all_processes_with_its_line(corpus: EncodedCorpus, tmp_path: Path) -> None:
    settings = replace(TRAIN, parallel="data", processes=2, learning_rate=1e30, schedule="constant", gradient_clip=0.0, max_steps=100)
    before = set(psutil.Process().children(recursive=True))
    with pytest.raises(UserError, match="the loss is no longer finite at step"):
        trained(corpus, settings, tmp_path)
    assert set(psutil.Process().children(recursive=True)) <= before


def test_more_processes_than_gpus_are_named_before_any_starts(
    corpus: EncodedCorpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    settings = replace(TRAIN, parallel="data", processes=2, device="auto")
    with pytest.raises(UserError, match=r"processes is 2, but each needs a GPU and this machine has 1"):
        trained(corpus, settings, tmp_path)
    assert not (tmp_path / "job").exists()


def test_the_shares_of_a_batch_are_its_rows_and_a_rank_without_one_adds_nothing(corpus: EncodedCorpus) -> None:
    for rows, size in ((7, 2), (3, 3), (2, 4)):
        batch = make_batch(corpus, np.arange(rows))
        targets = []
        for rank in range(size):
            processes = Processes("none", "test")
            processes.rank, processes.size = rank, size
            share = processes.local_rows(batch)
            assert len(share.source) >= 1
            assert torch.equal(share.targets(), batch.target_output[rank::size][batch.target_output[rank::size] != 0])
            targets += share.targets().tolist()
        assert sorted(targets) == sorted(batch.targets().tolist())
