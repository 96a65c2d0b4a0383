"""Part 4: BLEU on Multi30k English-German, test 2016, of three seeds, which train in parallel, of the fold models and of the student.

The settings are those of recipes/multi30k.yaml, and the pairs are those of gpu_data.py. The torch engine decodes with the beam size of
the recipe.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gpu_data import Prepared, load_prepared
from gpu_record import Plan, Recorder
from sacrebleu.metrics import BLEU

from textmill.base.lifetime import end_with_parent
from textmill.decode.settings import DecodeSettings
from textmill.decode.torch_engine import TorchEngine
from textmill.distill.distillation import Teaching
from textmill.distill.settings import DistillSettings
from textmill.distill.student import distill_student
from textmill.model.interface import Seq2SeqModel, num_parameters
from textmill.model.settings import ModelSettings
from textmill.model.weights import load_model, save_model
from textmill.settings.schema import build
from textmill.train.checkpoints import CheckpointFile
from textmill.train.folds import train_fold
from textmill.train.run import Run
from textmill.train.settings import TrainSettings

SEEDS = (1, 2, 3)
_BATCH = 500  # sentences per decoding batch
_TINY = {"max_steps": 4, "validate_every": 2, "warmup_steps": 1, "average_checkpoints": 1}


def settings_of(prepared: Prepared, plan: Plan) -> tuple[ModelSettings, TrainSettings, DistillSettings]:
    """Return the settings of the recipe, with worker processes for subword sampling."""
    sections = prepared.sections
    train, distill = build(TrainSettings, sections["train"], "train"), build(DistillSettings, sections["distill"], "distill")
    changes: dict[str, Any] = {"device": plan.device.type} | (_TINY if plan.is_tiny else {})
    workers = 0 if plan.is_tiny else max(1, (os.cpu_count() or 1) // len(SEEDS) - 1)
    distill = replace(distill, train=replace(distill.train, **changes))
    return build(ModelSettings, sections["model"], "model"), replace(train, num_workers=workers, **changes), distill


def with_r_drop(model: ModelSettings, train: TrainSettings) -> tuple[ModelSettings, TrainSettings]:
    """Replace subword sampling by R-Drop (Liang et al. 2021), with more steps and wider feed-forward layers (2.9 million parameters)."""
    longer: dict[str, Any] = {} if train.max_steps <= _TINY["max_steps"] else {"max_steps": 10000, "validate_every": 250}
    return replace(model, feed_forward=2 * model.feed_forward), replace(train, r_drop=1.0, subword_sampling=0.0, **longer)


def decode_of(prepared: Prepared) -> DecodeSettings:
    """Return the decoding settings of the recipe, with larger batches for a GPU."""
    return replace(build(DecodeSettings, prepared.sections["decode"], "decode"), batch_size=_BATCH)


def bleu(models: Sequence[Seq2SeqModel], prepared: Prepared, plan: Plan) -> dict[str, float]:
    """Compute lower-cased and cased BLEU on the test set, of one model or of an ensemble."""
    count = 3 if plan.is_tiny else len(prepared.references)
    beams = TorchEngine(models, plan.device).generate(prepared.test_sources[:count], decode_of(prepared))
    outputs = [prepared.tokenizer.decode(beam[0].tokens) for beam in beams]
    metrics = {"bleu_lowercase": BLEU(lowercase=True), "bleu": BLEU()}
    return {name: metric.corpus_score(outputs, [prepared.references[:count]]).score for name, metric in metrics.items()}


def train_one(kind: str, number: int, folder: Path, plan: Plan) -> dict[str, Any]:
    """Train with one seed on the official sets, or train one fold model. Writes folder/KIND-NUMBER.safetensors. Returns the metrics."""
    prepared = load_prepared(plan.data)
    model, train, _ = settings_of(prepared, plan)
    if kind == "r-drop":
        model, train = with_r_drop(model, train)
    corpus = prepared.corpus if kind == "fold" else prepared.official()
    fold, seed = (number, 1) if kind == "fold" else (0, number)
    started = time.monotonic()
    checkpoint = CheckpointFile(folder / f"checkpoint-{kind}-{number}", "f")
    network, result = train_fold(corpus, fold, model, train, Run("train", seed, checkpoint), prepared.tokenizer)
    seconds = time.monotonic() - started
    save_model(folder / f"{kind}-{number}.safetensors", network)
    numbers = {"steps": result.steps, "epochs": round(result.epochs, 1), "seconds": round(seconds, 1)}
    losses = {"validation_loss": result.best_validation_loss, "parameters": num_parameters(network)}
    return bleu([network], prepared, plan) | numbers | losses


def side_by_side(trainings: Sequence[tuple[str, int]], folder: Path, plan: Plan) -> Iterator[dict[str, Any]]:
    """Run `train_one` for every kind and number, each in its own process, in parallel. Raises RuntimeError if one fails."""
    command = [sys.executable, __file__, str(folder), str(plan.data), plan.device.type, *(["--tiny"] if plan.is_tiny else [])]
    processes = [
        subprocess.Popen([*command, "--kind", kind, "--number", str(number)], stdout=subprocess.PIPE, text=True)
        for kind, number in trainings
    ]
    for (kind, number), process in zip(trainings, processes, strict=True):
        out = process.communicate()[0]
        if process.returncode:
            raise RuntimeError(f"{kind} {number}: exit code {process.returncode}")
        yield json.loads(out.strip().split("\n")[-1])


def measure(recorder: Recorder, plan: Plan) -> None:
    """Record every seed, their mean and standard deviation, the fold models, their ensemble, and the student."""
    prepared = load_prepared(plan.data)
    model, _, distill = settings_of(prepared, plan)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        scores = []
        trainings = [("seed", seed) for seed in SEEDS[: 2 if plan.is_tiny else None]]
        trainings += [] if plan.is_tiny else [("r-drop", SEEDS[0])]
        for (kind, seed), result in zip(trainings, side_by_side(trainings, folder, plan), strict=True):
            if kind == "seed":
                recorder.add(f"seed {seed}", **result)
                scores.append(result["bleu_lowercase"])
            else:
                recorder.add(f"R-Drop in place of subword sampling, seed {seed}", **result)
        recorder.add("mean of the seeds", bleu_lowercase=statistics.mean(scores), standard_deviation=statistics.stdev(scores))
        folds = sorted(np.unique(prepared.corpus.folds.numpy()).tolist())
        for fold, result in zip(folds, side_by_side([("fold", fold) for fold in folds], folder, plan), strict=True):
            recorder.add(f"fold {fold}", **result)
        teachers = [load_model(folder / f"fold-{fold}.safetensors") for fold in folds]
        recorder.add("ensemble of the folds", **bleu(teachers, prepared, plan))
        started = time.monotonic()
        checkpoint, tokenizer = CheckpointFile(folder / "student", "f"), prepared.tokenizer
        student, _, counts, trained = distill_student(
            prepared.corpus, teachers, tokenizer, model, Teaching(distill, decode_of(prepared)), Run("student", 1, checkpoint)
        )
        seconds = round(time.monotonic() - started, 1)
        recorder.add("student", **bleu([student], prepared, plan), seconds=seconds, steps=trained.steps, taught=counts["distilled"])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="One training of part 4.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("device")
    parser.add_argument("--kind", choices=("seed", "r-drop", "fold"), required=True)
    parser.add_argument("--number", type=int, required=True)
    parser.add_argument("--tiny", action="store_true")
    options = parser.parse_args()
    end_with_parent(signal.SIGKILL)
    chosen = Plan(torch.device(options.device), options.tiny, options.data)
    print(json.dumps(train_one(options.kind, options.number, options.folder, chosen)))
