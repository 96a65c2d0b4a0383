"""Part 5: check that DDP and FSDP2, in a process group of one process, give the learning curve of a training without them."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from gpu_record import Plan, Recorder
from training_shapes import toy_corpus, toy_model, toy_training

from textmill.train.checkpoints import CheckpointFile
from textmill.train.folds import train_fold
from textmill.train.run import Run

TOLERANCE = 1e-5  # largest relative difference of a validation loss
SYSTEMS = {"DDP": "data", "FSDP2": "sharded"}


def curve(parallel: str, device: torch.device, steps: int) -> list[float]:
    """Return the validation losses of a training in float32, without dropout."""
    settings: Any = replace(toy_training(steps), parallel=parallel, device=device.type, cuda_graphs="never")
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = CheckpointFile(Path(folder, "checkpoint"), "f")
        model = replace(toy_model(), dropout=0.0)
        _, result = train_fold(toy_corpus(), 0, model, settings, Run("train", 1, checkpoint))
    return [row.validation_loss for row in result.history if row.validation_loss is not None]


def measure(recorder: Recorder, plan: Plan) -> None:
    """Record the largest difference of each from a training in one process."""
    steps = 8 if plan.is_tiny else 40
    plain = curve("none", plan.device, steps)
    for system, parallel in SYSTEMS.items():
        try:
            theirs = curve(parallel, plan.device, steps)
        except RuntimeError as error:
            recorder.add(f"{system} has the plain curve", failed=str(error)[-2000:], holds=False)
            continue
        difference = max(abs(one - other) / other for one, other in zip(theirs, plain, strict=True))
        recorder.add(f"{system} has the plain curve", difference=difference, tolerance=TOLERANCE, holds=difference <= TOLERANCE)
