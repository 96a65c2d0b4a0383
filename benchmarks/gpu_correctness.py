"""Part 1: check that training on a GPU gives the same learning curve as on a CPU, and the same bytes in every run.

The model has 2+2 layers, and learns a toy language in which every word has one translation. Learning curves are compared without
dropout, because dropout masks differ between devices. Bytes are compared with dropout.
"""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gpu_record import Plan, Recorder
from training_shapes import toy_corpus, toy_model, toy_training

from textmill.base.lifetime import end_with_parent
from textmill.decode.settings import DecodeSettings
from textmill.decode.torch_engine import TorchEngine
from textmill.model.device import prepare_device
from textmill.model.factory import build_model
from textmill.model.interface import Seq2SeqModel
from textmill.model.shape import Shape
from textmill.train.checkpoints import CheckpointFile
from textmill.train.loop import fit
from textmill.train.run import Run, TrainingData, TrainingResult

MODES: dict[str, dict[str, Any]] = {
    "eager": {"cuda_graphs": "never"},
    "CUDA graphs": {"cuda_graphs": "always"},
    "compiled": {"compile": True},
}
# Largest relative difference of a validation loss from a CPU in float32. bfloat16 has a precision of 8 bits.
TOLERANCES = {"float32": 1e-3, "bfloat16": 2e-2}
_THREADS = 1
SCORE_TOLERANCE = 1e-3  # largest difference of the score of a hypothesis between GPU and CPU


def trained(
    device: torch.device, precision: str, mode: str, dropout: float, steps: int, checkpoint: Path | None = None, kill_at: int = 0
) -> tuple[Seq2SeqModel, TrainingResult]:
    """Train on a toy fold. kill_at: the process kills itself before this step; 0 means never."""
    corpus = toy_corpus()
    settings = replace(toy_training(steps), precision=precision, **MODES[mode])
    # A process that resumes gets another seed, so the result would differ if the random state were not restored.
    has_checkpoint = checkpoint is not None and any(checkpoint.glob("*.safetensors"))
    prepared = prepare_device(device.type, _THREADS, 99 if has_checkpoint else 1)
    model = build_model(Shape.of(replace(toy_model(), dropout=dropout), corpus.vocabulary_size))
    seen = 0

    def on_rows(rows: np.ndarray) -> None:
        nonlocal seen
        seen += 1
        if seen == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    file = None if checkpoint is None else CheckpointFile(checkpoint, "toy")
    return model, fit(model, TrainingData.without(0, corpus), settings, Run("train", 1, file, on_rows=on_rows, device=prepared))


def digest_of(model: Seq2SeqModel) -> str:
    """Hash all weights."""
    content = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        content.update(name.encode() + tensor.cpu().numpy().tobytes())
    return content.hexdigest()


def measure(recorder: Recorder, plan: Plan) -> None:
    """Record all checks: of decoding, and of every mode. The processes of the modes run in parallel."""
    modes = list(MODES)[: 1 if plan.is_tiny else None]
    commands = [
        [sys.executable, __file__, "check", plan.device.type, mode, str(_steps(plan.is_tiny)), str(recorder.path)] for mode in modes
    ]
    processes = [subprocess.Popen(command) for command in commands]
    check_decoding(recorder, trained(torch.device("cpu"), "float32", "eager", 0.0, _steps(plan.is_tiny))[0], plan.device)
    codes = [process.wait() for process in processes]
    if any(codes):
        raise RuntimeError(f"exit codes {dict(zip(modes, codes, strict=True))}")


def _steps(is_tiny: bool) -> int:
    return 8 if is_tiny else 120


def check_mode(recorder: Recorder, device: torch.device, mode: str, steps: int) -> None:
    """Record whether a mode gives the same bytes again, and the learning curve of the CPU."""
    check_bytes(recorder, device, mode, steps)
    wanted = trained(torch.device("cpu"), "float32", "eager", 0.0, steps)[1].history
    for precision, tolerance in TOLERANCES.items():
        curve = trained(device, precision, mode, 0.0, steps)[1].history
        pairs = [(row.validation_loss, right.validation_loss) for row, right in zip(curve, wanted, strict=True)]
        difference = max(abs(ours - theirs) / theirs for ours, theirs in pairs if ours is not None and theirs)
        last = f"{pairs[-1][0]:.4f} against {pairs[-1][1]:.4f}"
        name = f"curve of the CPU in float32: {mode}, {precision}"
        recorder.add(name, difference=difference, tolerance=tolerance, last=last, holds=difference <= tolerance)


def check_bytes(recorder: Recorder, device: torch.device, mode: str, steps: int) -> None:
    """Record whether two runs, and a run that is killed and resumed in a new process, give the same bytes."""
    first, second = (digest_of(trained(device, "bfloat16", mode, 0.1, steps)[0]) for _ in range(2))
    recorder.add(f"two runs have the same bytes: {mode}", holds=first == second)
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, "train", device.type, mode, str(steps), folder]
        killed = subprocess.run([*command, str(steps * 2 // 3)], check=False, capture_output=True, text=True)
        resumed = subprocess.run([*command, "0"], check=False, capture_output=True, text=True)
        if killed.returncode != -signal.SIGKILL or resumed.returncode:
            raise RuntimeError(f"codes {killed.returncode}, {resumed.returncode}: {killed.stderr[-1000:]} {resumed.stderr[-1000:]}")
    digest = resumed.stdout.strip().split("\n")[-1]
    recorder.add(f"killed and resumed, in new processes, it has the same bytes: {mode}", holds=digest == first)


def check_decoding(recorder: Recorder, model: Seq2SeqModel, device: torch.device) -> None:
    """Record whether greedy and beam search in float32 give the same outputs on GPU and CPU."""
    corpus = toy_corpus()
    sources = [corpus.source(row) for row in range(100)]
    for beam in (1, 4):
        decode = DecodeSettings(beam, 1.0, 40, 64)
        found = {kind: TorchEngine([model], torch.device(kind)).generate(sources, decode, beam) for kind in ("cpu", device.type)}
        best = [(here[0], there[0]) for here, there in zip(found["cpu"], found[device.type], strict=True)]
        identical = sum(here.tokens == there.tokens for here, there in best) / len(best)
        difference = max(abs(here.score - there.score) for here, there in best)
        holds = identical == 1 and difference <= SCORE_TOLERANCE
        recorder.add(f"decoding equals the CPU's: beam {beam}", identical=identical, score_difference=difference, holds=holds)
    model.to("cpu")


if __name__ == "__main__":
    task, kind, chosen, number, *more = sys.argv[1:]
    end_with_parent(signal.SIGKILL)
    if task == "check":
        check_mode(Recorder(Path(more[0])), torch.device(kind), chosen, int(number))
    else:
        network, _ = trained(torch.device(kind), "bfloat16", chosen, 0.1, int(number), Path(more[0]), int(more[1]))
        print(digest_of(network))
