"""benchmarks/gpu.py, dry: with tiny shapes on a CPU, and with no package that a machine with a GPU does not have."""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from toy import DECODE, MODEL, PAIRS, TRAIN

from textmill.base.tensors import write_tensors
from textmill.encode.encoded_corpus import EncodedCorpus, packed
from textmill.tokenizer.tokenizer import Tokenizer

HAS_MARIAN = importlib.util.find_spec("transformers") is not None
PARTS = ("correctness", "speed", "graphs", "quality", "processes")
# A process that imports anything else than Python's own modules, ours, and these with all that they need, ends in an error.
GUARD = """
import importlib.machinery, importlib.metadata, re, sys
HAD = ["torch", "triton", "transformers", "safetensors", "sentencepiece", "sacrebleu", "pandas", "pyarrow", "scikit-learn", "psutil"]
NEEDED_BY_TRANSFORMERS = ["tqdm", "regex", "packaging", "PyYAML", "requests", "huggingface_hub", "tokenizers"]  # it need not be here
allowed, waiting = set(), [*HAD, *NEEDED_BY_TRANSFORMERS]
while waiting:
    name = re.split(r"[^A-Za-z0-9._-]", waiting.pop())[0].lower().replace("_", "-")
    if name in allowed:
        continue
    allowed.add(name)
    try:
        requirements = importlib.metadata.requires(name) or []
    except importlib.metadata.PackageNotFoundError:
        continue
    waiting += [each for each in requirements if "extra ==" not in each]
makers = importlib.metadata.packages_distributions()

class Guard:
    # Finds modules in folders as Python does, but those of other packages not at all.

    def find_spec(self, name, path=None, target=None):
        distributions = {each.lower().replace("_", "-") for each in makers.get(name.partition(".")[0], [])}
        if distributions and not distributions & (allowed | {"textmill"}):
            return None
        return importlib.machinery.PathFinder.find_spec(name, path, target)

    def invalidate_caches(self):
        importlib.machinery.PathFinder.invalidate_caches()

sys.meta_path[sys.meta_path.index(importlib.machinery.PathFinder)] = Guard()
"""


@pytest.fixture(scope="module")
def prepared(corpus: EncodedCorpus, tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `--prepare` writes, of the toy world."""
    path = tmp_path_factory.mktemp("gpu") / "pairs.safetensors"
    sources, offsets = packed([corpus.source(row) for row in range(5)])
    fields = ("source_tokens", "source_offsets", "target_tokens", "target_offsets", "folds", "weight", "task")
    tensors = {f"corpus.{name}": getattr(corpus, name) for name in fields}
    tensors |= {"test.source_tokens": sources, "test.source_offsets": offsets, "is_valid": torch.arange(len(corpus)) % 9 == 0}
    tensors["tokenizer"] = torch.from_numpy(np.frombuffer(tokenizer.model, dtype=np.uint8).copy())
    distill = {
        "labelled_by": "out_of_fold",
        "beam_size": 2,
        "num_hypotheses": 2,
        "min_chrf": 0,
        "start_from": "scratch",
        "original_share": 1.0,
    }
    distill |= {"encoder_layers": 1, "decoder_layers": 1, "feed_forward": 0, "train": vars(TRAIN)}
    sections = {"model": vars(MODEL), "train": vars(TRAIN) | {"subword_sampling": 0.2}, "distill": distill, "decode": vars(DECODE)}
    references = [target for _, target in PAIRS[:5]]
    write_tensors(path, tensors, {"references": references, "vocabulary_size": corpus.vocabulary_size, "sections": sections})
    return path


def run(out: Path, prepared: Path, guard: Path, *more: str) -> subprocess.CompletedProcess[str]:
    (guard / "sitecustomize.py").write_text(GUARD)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(guard), "src"])}
    command = [sys.executable, "benchmarks/gpu.py", "--out", str(out), "--data", str(prepared), "--device", "cpu", "--tiny", *more]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=3600)


def test_every_part_runs_and_what_was_measured_is_not_measured_again(prepared: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "gpu_speed.json").write_text(json.dumps({"complete": False, "part": "speed"}))  # of a run that was stopped
    done = run(out, prepared, tmp_path, "--minutes", "30")
    assert done.returncode == 0, done.stderr
    results = {part: json.loads((out / f"gpu_{part}.json").read_text()) for part in PARTS}
    assert sorted(path.name for path in out.iterdir()) == sorted(f"gpu_{part}.json" for part in PARTS)
    for part, result in results.items():
        assert result["complete"], result
        assert result["machine"]["versions"]["torch"] == torch.__version__ and result["machine"]["cpu"]
        assert f"| {part} |" in done.stdout
        failed = [record for record in result["records"] if "failed" in record]
        assert not failed or (not HAS_MARIAN and [record["name"].split("-")[0] for record in failed] == ["marian"]), failed
    checks = [record for part in ("correctness", "processes") for record in results[part]["records"]]
    assert len(checks) >= 8 and all(record["holds"] for record in checks if "bfloat16" not in record["name"]), checks
    names = [record["name"] for record in results["quality"]["records"]]
    assert names == ["seed 1", "seed 2", "mean of the seeds", "fold 0", "fold 1", "fold 2", "ensemble of the folds", "student"]
    again = run(out, prepared, tmp_path)
    assert again.stdout.count("already complete") == len(PARTS), again.stdout


def test_what_a_stopped_part_measured_is_kept(prepared: Path, tmp_path: Path) -> None:
    done = run(tmp_path / "out", prepared, tmp_path, "--only", "correctness", "--minutes", "0")
    assert done.returncode == 0 and "correctness: no time left" in done.stdout
    sys.path.insert(0, "benchmarks")
    recorder = importlib.import_module("gpu_record")
    file = tmp_path / "records.jsonl"
    recorder.Recorder(file).add("whole", value=1)
    with file.open("a") as half:
        half.write('{"name": "ha')
    assert recorder.read_records(file) == [{"name": "whole", "value": 1}]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so_in_one_line(tmp_path: Path) -> None:
    command = [sys.executable, "benchmarks/gpu.py", "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | {"PYTHONPATH": "src"})
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "gpu: torch finds no GPU. Run this on a machine with one, or test everything with --device cpu --tiny.\n"


def test_the_tables_of_the_docs_are_those_of_the_results() -> None:
    sys.path.insert(0, "benchmarks")
    tables: Any = importlib.import_module("gpu_tables")
    text = Path("docs/gpu.md").read_text(encoding="utf-8")
    assert all(f"<!-- gpu {part} -->" in text for part in PARTS)
    assert tables.with_tables(text, Path("benchmarks/results")) == text, "run `python benchmarks/gpu.py --docs`"
    assert "Not measured." in tables.with_tables(text, Path("no such folder"))
