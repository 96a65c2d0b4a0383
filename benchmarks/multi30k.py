"""Measure BLEU on Multi30k English-German over training time, with a small model and no external data.

    python benchmarks/multi30k.py DATA --out benchmarks/results/multi30k.json [--recipe FILE] [--seed N] [--max-steps N]

DATA is a folder with train, valid and test.jsonl.gz (fields source and target). Model, training and decoding are those of the recipe
(recipes/multi30k.yaml). At every validation, the script also measures the time and two BLEU scores: of the test set, for publication,
and of the validation set, for choosing recipes. BLEU is computed by sacreBLEU on detokenized outputs, lower-cased and cased.

A killed run resumes from its checkpoint when it is started again with the same recipe and data. After a change of the code, remove the
folder of checkpoints.

Time is measured in core seconds (summed over all threads), which depend little on other work on the machine. The time for scoring is
not counted.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from labelled import read_rows
from machine import processor
from ruamel.yaml import YAML
from sacrebleu.metrics import BLEU

from textmill.base.files import sha256_of, write_json
from textmill.commands.recipe import read_recipe
from textmill.decode.ct2_engine import CTranslate2Engine
from textmill.decode.generate import generate
from textmill.decode.settings import DecodeSettings
from textmill.encode.encoded_corpus import encoded_corpus
from textmill.export.ct2_spec import write_ct2
from textmill.model.device import prepare_device
from textmill.model.factory import build_model
from textmill.model.interface import Seq2SeqModel, num_parameters
from textmill.model.settings import ModelSettings
from textmill.model.shape import Shape
from textmill.settings.schema import build
from textmill.tokenizer.settings import TokenizerSettings
from textmill.tokenizer.tokenizer import Tokenizer, fit_tokenizer
from textmill.train.averaging import averaged
from textmill.train.checkpoints import CheckpointFile
from textmill.train.loop import Trainer
from textmill.train.optimization import computes_in_bfloat16
from textmill.train.run import Run, TrainingData
from textmill.train.settings import TrainSettings

RECIPE = "multi30k"
METRICS = {"bleu_lowercase": BLEU(lowercase=True), "bleu": BLEU()}


def read_pairs(file: Path) -> tuple[list[str], list[str]]:
    """Read the sources and targets of a gzipped JSONL file."""
    rows = read_rows(file)
    return [row["source"] for row in rows], [row["target"] for row in rows]


def scores(
    weights: dict[str, torch.Tensor], model: Seq2SeqModel, tokenizer: Tokenizer, decode: DecodeSettings, test: tuple, valid: tuple
) -> dict[str, float]:
    """Compute BLEU of a model with `weights`: lower-cased and cased on the test set, lower-cased on the validation set."""
    copy = build_model(model.shape)
    copy.load_state_dict(weights)
    with tempfile.TemporaryDirectory() as folder:
        write_ct2(copy.eval(), tokenizer.pieces, Path(folder), "float32")
        engine = CTranslate2Engine(Path(folder), num_threads=2)
        outputs = {name: generate(pairs[0], tokenizer, engine, decode) for name, pairs in (("test", test), ("valid", valid))}
    found = {name: metric.corpus_score(outputs["test"], [test[1]]).score for name, metric in METRICS.items()}
    return found | {"validation_bleu_lowercase": METRICS["bleu_lowercase"].corpus_score(outputs["valid"], [valid[1]]).score}


def core_minutes_to(level: float, points: list[dict[str, float]]) -> float | None:
    """Return the time at which lower-cased BLEU first reached `level`, or None if it never did."""
    reached = [point["core_seconds"] for point in points if point["bleu_lowercase"] >= level]
    return round(reached[0] / 60, 1) if reached else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--checkpoints", type=Path, default=Path(".checkpoints/multi30k"))
    parser.add_argument("--params", type=Path, help="use this complete params.yaml instead of the recipe")
    parser.add_argument("--seed", type=int, help="use this seed instead of that of the recipe")
    parser.add_argument("--max-steps", type=int, help="use this value of train.max_steps instead of that of the recipe")
    arguments = parser.parse_args()
    params = YAML(typ="safe").load(arguments.params.read_text(encoding="utf-8") if arguments.params else read_recipe(RECIPE).text)
    if arguments.seed is not None:
        params["seed"] = arguments.seed
    if arguments.max_steps:
        params["train"]["max_steps"] = arguments.max_steps
    train = build(TrainSettings, params["train"], "train")
    decode = build(DecodeSettings, params["decode"], "decode")
    files = [arguments.data / f"{name}.jsonl.gz" for name in ("train", "valid", "test")]
    texts, valid, test = map(read_pairs, files)
    content = json.dumps([params, *map(sha256_of, files)], sort_keys=True)
    fingerprint = hashlib.sha256(content.encode("utf-8")).hexdigest()[:16]
    tokenizer = fit_tokenizer(*texts, build(TokenizerSettings, params["tokenizer"], "tokenizer"))
    sources, targets = tokenizer.encode_pairs(texts[0] + valid[0], texts[1] + valid[1])
    folds = np.array([[1]] * len(texts[0]) + [[0]] * len(valid[0]))
    corpus = encoded_corpus(sources, targets, folds, len(tokenizer.pieces))
    device = prepare_device(train.device, train.num_threads, params["seed"])
    model = build_model(Shape.of(build(ModelSettings, params["model"], "model"), corpus.vocabulary_size))

    points_file = arguments.checkpoints / f"{fingerprint}.json"
    points = json.loads(points_file.read_text()) if points_file.exists() else []
    clock = {"since": time.process_time(), "before": points[-1]["core_seconds"] if points else 0.0}

    def on_metrics(numbers: dict[str, float], step: int) -> None:
        core_seconds = clock["before"] + time.process_time() - clock["since"]
        weights = averaged(trainer.state.snapshots)
        point = {"step": step, "core_seconds": round(core_seconds, 1), **numbers, **scores(weights, model, tokenizer, decode, test, valid)}
        points.append(point)
        write_json(points_file, points)
        print(json.dumps(point), flush=True)
        clock.update(before=core_seconds, since=time.process_time())

    checkpoint = CheckpointFile(arguments.checkpoints, fingerprint)
    run = Run("multi30k", params["seed"], checkpoint, on_metrics, device=device)
    trainer = Trainer(model, TrainingData.without(0, corpus, tokenizer), train, run)
    result = trainer.run()
    final = scores(model.state_dict(), model, tokenizer, decode, test, valid)
    summary = {
        "test": "test_2016_flickr, 1,000 sentences",
        "signatures": {name: str(metric.get_signature()) for name, metric in METRICS.items()},
        "seed": params["seed"],
        "parameters": num_parameters(model),
        "final": final,
        "steps": result.steps,
        "epochs": round(result.epochs, 2),
        "core_minutes": round(points[-1]["core_seconds"] / 60, 1),
        "core_minutes_to_bleu": {str(level): core_minutes_to(level, points) for level in (35, 41)},
        "precision": "bfloat16" if computes_in_bfloat16(train.precision, device) else "float32",
        "threads": train.num_threads,
        "cores": os.cpu_count(),
        "cpu": processor(),
        "torch": torch.__version__.split("+")[0],
        "curve": points,
    }
    write_json(arguments.out, summary)
    print(json.dumps({name: value for name, value in summary.items() if name != "curve"}))


if __name__ == "__main__":
    main()
