"""Measure the training steps of one system in a separate process.

    python benchmarks/training_systems.py SYSTEM SHAPE FOLDER --device cpu --threads 2

All systems train on the batches in FOLDER, in the same order, with label smoothing 0.1, dropout 0.1, gradients clipped to norm 1,
fused Adam (torch-transformer: Adam, not fused) and one tied embedding. The script prints one JSON line.

ours-*             textmill.train.loop.Trainer as it is, including making the batches.
marian-*           MarianMTModel with the training step of transformers' Trainer: LabelSmoother over all positions, autocast for
                   bfloat16, clipping, fused AdamW. Batches are made before; the Trainer's book-keeping is not measured.
torch-transformer  nn.Transformer as in PyTorch's translation tutorial: CrossEntropyLoss with ignore_index over all positions,
                   dropout on the attention weights too, Adam, float32.
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from torch import Tensor, nn
from training_arithmetic import flops_of_a_step, peak_flops_per_second
from training_shapes import SEED, SHAPES, STEPS_BEHIND, TrainingShape, read_batches, read_corpus

from textmill.encode.batching import Batch
from textmill.model.device import prepare_device
from textmill.model.factory import build_model
from textmill.model.positions import Sinusoidal
from textmill.model.shape import Shape
from textmill.tokenizer.special import BEGIN, END, PAD
from textmill.train.compiling import compile_layers
from textmill.train.loop import fit
from textmill.train.run import Run, TrainingData
from textmill.train.settings import TrainSettings

_SMOOTHING, _CLIP, _LEARNING_RATE = 0.1, 1.0, 1e-3
_BETAS, _EPSILON = (0.9, 0.98), 1e-9
_PROFILED_STEPS, _KERNELS = 10, 15
MODES = ("compiled", "eager", "graphs")  # how ours trains on a GPU; the other systems are compiled unless the mode is eager

Step = Callable[[Batch], Tensor]


class Stopwatch:
    """Measure the time from the start of step `first` to the start of step `last`, both counted from 0.

    seconds: wall-clock time.
    cpu_seconds: CPU time of all threads.
    kernel_seconds: time of all GPU kernels per step, measured by torch.profiler in some steps before `first`; None on a CPU.
    kernels: the longest kernels, with their share of that time.
    """

    def __init__(self, first: int, last: int, device: torch.device) -> None:
        self.first, self.last, self.device = first, last, device
        self.started = self.cpu_started = self.seconds = self.cpu_seconds = 0.0
        self.kernel_seconds: float | None = None
        self.kernels: dict[str, float] = {}
        self.profiler: Any = None
        self.profiled = max(1, min(_PROFILED_STEPS, first // 2)) if device.type == "cuda" else 0

    def at(self, step: int) -> None:
        """Report the start of a step."""
        if self.profiled and step == self.first - self.profiled:
            torch.cuda.synchronize(self.device)
            self.profiler = torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA])
            self.profiler.start()
        if self.profiler is not None and step == self.first:
            torch.cuda.synchronize(self.device)
            self.profiler.stop()
            times = {event.key: event.self_device_time_total for event in self.profiler.key_averages()}
            total = sum(times.values())
            longest = sorted(times, key=lambda name: -times[name])[:_KERNELS]
            self.kernels = {name[:80]: round(times[name] / max(total, 1e-9), 3) for name in longest}
            self.kernel_seconds, self.profiler = total / 1e6 / self.profiled, None
        if step not in (self.first, self.last):
            return
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        if step == self.first:
            self.started, self.cpu_started = time.perf_counter(), time.process_time()
        else:
            self.seconds, self.cpu_seconds = time.perf_counter() - self.started, time.process_time() - self.cpu_started


def train_ours(
    shape: TrainingShape, folder: Path, precision: str, mode: str, stopwatch: Stopwatch, threads: int
) -> tuple[nn.Module, float, float]:
    """Train with textmill. Returns the model, the loss of the last step, and the share of time spent on making batches.

    mode: one of MODES.
    """
    device = prepare_device(stopwatch.device.type, threads, SEED)
    corpus, wanted = read_corpus(folder), read_batches(folder)[1]
    steps = stopwatch.last + STEPS_BEHIND
    settings = TrainSettings(
        batch_tokens=shape.batch_tokens,
        max_steps=steps,
        validate_every=steps - 1,
        patience=0,
        optimizer="adam",
        learning_rate=_LEARNING_RATE,
        weight_decay=0.0,
        schedule="constant",
        warmup_steps=0,
        step_size=1,
        gamma=1.0,
        label_smoothing=_SMOOTHING,
        gradient_clip=_CLIP,
        average_checkpoints=1,
        precision=precision,  # type: ignore[arg-type]
        device=device.type,  # type: ignore[arg-type]
        num_threads=threads,
        compile=device.type == "cuda" and mode == "compiled",
        cuda_graphs="always" if mode == "graphs" else "never",
    )
    seen: list[np.ndarray] = []
    shares: list[float] = []

    def on_rows(rows: np.ndarray) -> None:
        assert np.array_equal(rows, wanted[len(seen)]), "training makes other batches than the other systems get"
        stopwatch.at(len(seen))
        seen.append(rows)

    model = build_model(Shape.of(shape.model, shape.vocabulary_size))
    run = Run("train", SEED, on_metrics=lambda numbers, _: shares.append(numbers["loading_share"]), on_rows=on_rows, device=device)
    return model, fit(model, TrainingData.all_of(corpus), settings, run).history[-1].train_loss, shares[0]


def train_peer(model: nn.Module, step: Step, batches: list[Batch], mode: str, stopwatch: Stopwatch) -> tuple[nn.Module, float]:
    """Train another system. Returns the model and the loss of the last step."""
    if stopwatch.device.type == "cuda" and mode != "eager":
        compile_layers(model)
    for number, batch in enumerate(batches):
        stopwatch.at(number)
        loss = step(batch.to(stopwatch.device))
    return model, float(loss)


def marian(shape: TrainingShape, precision: str, device: torch.device) -> tuple[nn.Module, Step]:
    """Build MarianMT, which has only post-norm, and the step of its Trainer with label_smoothing_factor and bf16."""
    from transformers import MarianConfig, MarianMTModel
    from transformers.trainer_pt_utils import LabelSmoother

    settings = shape.model
    config = MarianConfig(
        vocab_size=shape.vocabulary_size,
        d_model=settings.width,
        encoder_layers=settings.encoder_layers,
        decoder_layers=settings.decoder_layers,
        encoder_attention_heads=settings.heads,
        decoder_attention_heads=settings.heads,
        encoder_ffn_dim=settings.feed_forward,
        decoder_ffn_dim=settings.feed_forward,
        activation_function=settings.activation,
        dropout=settings.dropout,
        activation_dropout=settings.dropout,
        attention_dropout=settings.attention_dropout,
        max_position_embeddings=512,
        scale_embedding=True,
        share_encoder_decoder_embeddings=True,
        tie_word_embeddings=True,
        pad_token_id=PAD,
        eos_token_id=END,
        forced_eos_token_id=END,
        decoder_start_token_id=BEGIN,
        use_cache=False,
    )
    model: Any = MarianMTModel(config).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=_LEARNING_RATE, betas=_BETAS, eps=_EPSILON, weight_decay=0.0, fused=True)
    smoother = LabelSmoother(epsilon=_SMOOTHING)
    is_low = precision == "bfloat16"

    def step(batch: Batch) -> Tensor:
        model.train()
        labels = batch.target_output.masked_fill(batch.target_output == PAD, smoother.ignore_index)
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=is_low):
            outputs = model(input_ids=batch.source, attention_mask=(batch.source != PAD).long(), decoder_input_ids=batch.target_input)
            loss: Tensor = smoother(outputs, labels)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), _CLIP)
        optimizer.step()
        model.zero_grad()
        return loss.detach()

    return model, step


class TutorialTransformer(nn.Module):
    """nn.Transformer between an embedding and its tied projection, with the masks of PyTorch's tutorial."""

    def __init__(self, shape: TrainingShape) -> None:
        super().__init__()
        settings = shape.model
        self.width = settings.width
        self.embedding = nn.Embedding(shape.vocabulary_size, settings.width, padding_idx=PAD)
        nn.init.normal_(self.embedding.weight, std=settings.width**-0.5)
        self.transformer = nn.Transformer(
            settings.width,
            settings.heads,
            settings.encoder_layers,
            settings.decoder_layers,
            settings.feed_forward,
            settings.dropout,
            batch_first=True,
        )
        self.generator = nn.Linear(settings.width, shape.vocabulary_size)
        self.generator.weight = self.embedding.weight
        self.positions = Sinusoidal(settings.width, 0)
        self.dropout = nn.Dropout(settings.dropout)

    def forward(self, source: Tensor, target_input: Tensor) -> Tensor:
        """source: (B, S). target_input: (B, T). Returns logits (B, T, V)."""
        length = target_input.shape[1]
        causal = torch.triu(torch.ones(length, length, dtype=torch.bool, device=source.device), diagonal=1)  # (T, T), true: hidden
        is_padding = source == PAD  # (B, S)
        states = self.transformer(
            self._embed(source),
            self._embed(target_input),
            tgt_mask=causal,
            src_key_padding_mask=is_padding,
            tgt_key_padding_mask=target_input == PAD,
            memory_key_padding_mask=is_padding,
        )
        logits: Tensor = self.generator(states)
        return logits

    def _embed(self, tokens: Tensor) -> Tensor:
        embedded = self.embedding(tokens) * math.sqrt(self.width)
        out: Tensor = self.dropout(self.positions(embedded, torch.arange(tokens.shape[1], device=tokens.device)))
        return out


def torch_transformer(shape: TrainingShape, device: torch.device) -> tuple[nn.Module, Step]:
    """Build the model and step of PyTorch's tutorial, plus label smoothing and clipping."""
    model = TutorialTransformer(shape).to(device)
    criterion = nn.CrossEntropyLoss(ignore_index=PAD, label_smoothing=_SMOOTHING)
    optimizer = torch.optim.Adam(model.parameters(), lr=_LEARNING_RATE, betas=_BETAS, eps=_EPSILON)

    def step(batch: Batch) -> Tensor:
        model.train()
        logits = model(batch.source, batch.target_input)
        optimizer.zero_grad()
        loss: Tensor = criterion(logits.reshape(-1, logits.shape[-1]), batch.target_output.reshape(-1))
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), _CLIP)
        optimizer.step()
        return loss.detach()

    return model, step


def measured(
    system: str, shape: TrainingShape, folder: Path, device: torch.device, threads: int, mode: str = "compiled", is_exact: bool = True
) -> dict[str, Any]:
    """Measure the speed in the second epoch, and the peak memory of the process.

    mode: one of MODES.
    is_exact: allow only deterministic kernels.
    """
    maker, _, precision = system.rpartition("-")
    batches, _, epoch = read_batches(folder)
    stopwatch = Stopwatch(epoch, 2 * epoch, device)
    timed = batches[epoch : 2 * epoch]
    torch.set_num_threads(threads)
    torch.manual_seed(SEED)
    if maker == "marian":
        import transformers.trainer_pt_utils  # noqa: F401 (imported before the memory is measured)
    if not is_exact:
        _allow_inexact_kernels()
    resident = psutil.Process().memory_info().rss
    loading = None
    if maker == "ours":
        model, loss, loading = train_ours(shape, folder, precision, mode, stopwatch, threads)
    elif maker == "marian":
        model, loss = train_peer(*marian(shape, precision, device), batches, mode, stopwatch)
    else:
        precision = "float32"
        model, loss = train_peer(*torch_transformer(shape, device), batches, mode, stopwatch)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # kilobytes on Linux
    tokens = sum(len(batch.indices) for batch in timed)
    result = {
        "target_tokens_per_second": round(tokens / stopwatch.seconds, 1),
        "target_tokens_per_cpu_second": round(tokens / stopwatch.cpu_seconds, 1),
        "steps_per_second": round(len(timed) / stopwatch.seconds, 3),
        "peak_rss_mb": round(peak / 1e6),
        "peak_above_imports_mb": round((peak - resident) / 1e6),
        "last_loss": round(loss, 4),
        "parameters": sum(p.numel() for p in model.parameters() if p.requires_grad),  # MarianMT's fixed position tables do not count
    }
    if loading is not None:
        result["loading_share"] = round(loading, 4)
    if device.type == "cuda":
        possible = peak_flops_per_second(precision)
        reached = sum(flops_of_a_step(shape, batch) for batch in timed) / stopwatch.seconds
        result["peak_gpu_mb"] = round(torch.cuda.max_memory_allocated(device) / 1e6)
        result["teraflops_per_second"] = round(reached / 1e12, 2)
        result["mfu"] = None if possible is None else round(reached / possible, 4)
        result["mode"], result["deterministic"] = mode, is_exact and maker == "ours"
        if stopwatch.kernel_seconds is not None:
            result["idle_share"] = round(max(0.0, 1 - stopwatch.kernel_seconds * len(timed) / stopwatch.seconds), 4)
            result["kernels"] = stopwatch.kernels
    return result


def _allow_inexact_kernels() -> None:
    """Switch determinism off, to measure what it costs."""
    from textmill.model import device

    device.torch.use_deterministic_algorithms = lambda *_: None  # type: ignore[attr-defined]
    device.torch.set_deterministic_debug_mode = lambda *_: None  # type: ignore[attr-defined]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("system")
    parser.add_argument("shape", choices=SHAPES)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--mode", choices=MODES, default="compiled", help="on a GPU")
    parser.add_argument(
        "--inexact", action="store_true", help="allow kernels that are not deterministic, to measure the cost of determinism"
    )
    options = parser.parse_args()
    shape, device = SHAPES[options.shape], torch.device(options.device)
    print(json.dumps(measured(options.system, shape, options.folder, device, options.threads, options.mode, not options.inexact)))


if __name__ == "__main__":
    main()
