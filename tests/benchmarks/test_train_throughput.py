"""The training benchmark: the command as a user runs it, and its arithmetic against what torch counts."""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from textmill.encode.batching import Batch
from textmill.model import dropout
from textmill.model.factory import build_model
from textmill.model.interface import Seq2SeqModel, num_parameters
from textmill.model.shape import Shape
from textmill.train.objective import Objective

VOCABULARY = 50


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "benchmarks/train_throughput.py", *arguments]
    environment = os.environ | {"PYTHONPATH": "src"}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=3600)


def test_a_tiny_run_ends_with_one_line_of_json(tmp_path: Path) -> None:
    has_marian = importlib.util.find_spec("transformers") is not None
    systems = ["ours-bfloat16", "marian-bfloat16", "torch-transformer"]
    saved = tmp_path / "speeds.json"
    done = run("--shape", "tiny", "--systems", *systems, "--rounds", "1", "--threads", "1", "--save", str(saved))
    assert done.returncode == 0, done.stderr
    line = done.stdout.strip().split("\n")[-1]
    assert json.loads(line) == json.loads(saved.read_text(encoding="utf-8"))
    tiny = json.loads(line)["shapes"]["tiny"]
    assert list(tiny["systems"]) == [system for system in systems if has_marian or "marian" not in system]
    assert set(tiny["ratios"]) == ({"ours_to_marian", "ours_to_torch"} if has_marian else {"ours_to_torch"})
    for result in tiny["systems"].values():
        assert result["target_tokens_per_second"] > result["steps_per_second"] > 0
        assert 0 < result["peak_above_imports_mb"] < result["peak_rss_mb"]
        assert 2 < result["last_loss"] < 8  # about ln 100, before anything is learned
    ours, tutorial = tiny["systems"]["ours-bfloat16"], tiny["systems"]["torch-transformer"]
    assert ours["parameters"] == tutorial["parameters"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_cuda_is_refused_in_one_line() -> None:
    done = run("--device", "cuda")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "train_throughput: --device is cuda, but torch finds no GPU. Use cpu, or install the CUDA build of torch.\n"


@pytest.fixture
def arithmetic(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend("benchmarks")
    return importlib.import_module("training_arithmetic")


def shape_of(layers: int) -> tuple[Any, Seq2SeqModel]:
    """Needs `arithmetic`, which makes the benchmarks' modules importable."""
    big = importlib.import_module("training_shapes").SHAPES["big"]
    small = {"width": 32, "heads": 2, "key_value_heads": 0, "feed_forward": 128, "encoder_layers": layers, "decoder_layers": layers}
    shape = replace(big, model=replace(big.model, **small), vocabulary_size=VOCABULARY)
    return shape, build_model(Shape.of(shape.model, VOCABULARY)).train()


def full_batch() -> Batch:
    source, target = torch.randint(4, VOCABULARY, (3, 17)), torch.randint(4, VOCABULARY, (3, 11))
    return Batch(source, target, target, torch.arange(target.numel()))


@pytest.mark.parametrize("layers", [1, 3])
def test_operations_and_parameters_are_those_that_torch_counts(arithmetic: ModuleType, layers: int) -> None:
    shape, model = shape_of(layers)
    batch = full_batch()
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        Objective(model, 0.1, 0.0)(batch, 1.0).backward()
    assert arithmetic.flops_of_a_step(shape, batch) == counter.get_total_flops()
    assert arithmetic.parameters_of(shape) == num_parameters(model)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_activations_by_hand_are_what_autograd_keeps_for_a_layer(arithmetic: ModuleType, precision: str) -> None:
    batch, dtype = full_batch(), getattr(torch, precision)
    kept, by_hand = [], []
    for layers in (1, 2):
        shape, model = shape_of(layers)
        model.to(dtype)
        others = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
        others.add(dropout._pool(0.1, dtype).untyped_storage().data_ptr())
        storages: dict[int, torch.UntypedStorage] = {}

        def pack(tensor: torch.Tensor, storages: dict[int, torch.UntypedStorage] = storages) -> torch.Tensor:
            storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            loss = Objective(model, 0.1, 0.0)(batch, 1.0)
        kept.append(sum(storage.nbytes() for address, storage in storages.items() if address not in others))
        by_hand.append(arithmetic.activation_bytes(shape, batch, precision))
        del loss
    assert kept[1] - kept[0] == pytest.approx(by_hand[1] - by_hand[0], rel=0.03)
