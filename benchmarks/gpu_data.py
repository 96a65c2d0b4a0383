"""Pack Multi30k, cleaned, split and encoded by the pipeline, into one file for machines without DVC."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from textmill.base.errors import UserError
from textmill.base.tensors import read_tensors, write_tensors
from textmill.encode.encoded_corpus import EncodedCorpus, packed
from textmill.settings.schema import completed
from textmill.tokenizer.tokenizer import Tokenizer

PREPARED = Path("benchmarks/data/multi30k.safetensors")
RECIPE = "multi30k"
_FILES = ("train.jsonl.gz", "valid.jsonl.gz", "test.jsonl.gz")
_MOST_BYTES = 20_000_000


@dataclass(frozen=True)
class Prepared:
    """The packed data.

    corpus: the development pairs.
    is_valid: (N,) bool, true for pairs of the official validation set.
    test_sources: token ids of each test source.
    references: targets of the test set.
    sections: sections of the recipe, by name.
    """

    corpus: EncodedCorpus
    is_valid: Tensor
    tokenizer: Tokenizer
    test_sources: list[list[int]]
    references: list[str]
    sections: dict[str, dict[str, object]]

    def official(self) -> EncodedCorpus:
        """Return the corpus with the official validation set as fold 0, and everything else as fold 1."""
        return replace(self.corpus, folds=(~self.is_valid).long()[:, None])


def prepare(data: Path) -> None:
    """Run the stages of the recipe up to `encode` in a temporary clone, and pack their outputs.

    Needs DVC and a committed checkout.
    """
    missing = [name for name in _FILES if not (data / name).is_file()]
    if missing:
        raise UserError(f"{data}: {', '.join(missing)} is missing. Give the folder with {', '.join(_FILES)}.")
    with tempfile.TemporaryDirectory() as temporary:
        clone = Path(temporary, "clone")
        subprocess.run(["git", "clone", "--quiet", ".", str(clone)], check=True)
        (clone / "data/raw/multi30k").mkdir(parents=True)
        for name in _FILES:
            shutil.copy(data / name, clone / "data/raw/multi30k" / name)
        # dvc starts each stage with the `python` of PATH
        paths = {"PATH": [Path(sys.executable).parent, os.environ["PATH"]], "PYTHONPATH": [clone, clone / "src"]}
        environment = os.environ | {name: os.pathsep.join(map(str, parts)) for name, parts in paths.items()}
        for command in (["textmill", "recipe", RECIPE], ["dvc", "repro", "encode"]):
            if subprocess.run([sys.executable, "-m", *command], cwd=clone, check=False, env=environment).returncode:
                raise UserError(f"`{' '.join(command)}` failed; its message is above.")
        pack(clone, PREPARED)


def pack(project: Path, path: Path) -> None:
    """Write `path` from a project whose stages have run."""
    import pandas as pd
    from ruamel.yaml import YAML  # here and not above, because the machine with the GPU may not have it

    corpus = EncodedCorpus.load(project / "data/encode/development.safetensors")
    development, test = (pd.read_parquet(project / f"data/split/{name}.parquet") for name in ("development", "test"))
    if len(development) != len(corpus):
        raise UserError(f"encode left out {len(development) - len(corpus)} pairs. Raise encode.max_tokens in recipes/{RECIPE}.yaml.")
    tokenizer = (project / "data/tokenizer/tokenizer.model").read_bytes()
    sources, offsets = packed(Tokenizer(tokenizer).encode_batch(test["source"].tolist()))
    tensors = {f"corpus.{name}": getattr(corpus, name) for name in _TENSORS}
    tensors |= {"test.source_tokens": sources, "test.source_offsets": offsets}
    tensors["is_valid"] = torch.from_numpy(development["origin"].str.endswith("/valid.jsonl.gz").to_numpy(copy=True))
    tensors["tokenizer"] = torch.from_numpy(np.frombuffer(tokenizer, dtype=np.uint8).copy())
    sections = completed(YAML(typ="safe").load((project / "params.yaml").read_text(encoding="utf-8")))
    write_tensors(path, tensors, {"references": test["target"].tolist(), "vocabulary_size": corpus.vocabulary_size, "sections": sections})
    size = path.stat().st_size
    if size > _MOST_BYTES:
        raise UserError(f"{path}: has {size:,} bytes, more than the {_MOST_BYTES:,} that are copied.")
    print(f"{path}: {size:,} bytes, {len(corpus):,} pairs, {len(test):,} test sentences")


def load_prepared(path: Path) -> Prepared:
    """Read the packed data. Raises UserError if the file was not prepared."""
    if not path.exists():
        raise UserError(f"{path}: no such file. Make it with `python benchmarks/gpu.py --prepare DATA`.")
    tensors, metadata = read_tensors(path)
    corpus = EncodedCorpus(
        **{name: tensors[f"corpus.{name}"] for name in _TENSORS}, vocabulary_size=metadata["vocabulary_size"], tasks=[""]
    )
    offsets, tokens = tensors["test.source_offsets"].tolist(), tensors["test.source_tokens"].tolist()
    sources = [tokens[start:end] for start, end in pairwise(offsets)]
    tokenizer = Tokenizer(tensors["tokenizer"].numpy().tobytes())
    return Prepared(corpus, tensors["is_valid"], tokenizer, sources, metadata["references"], metadata["sections"])


_TENSORS = ("source_tokens", "source_offsets", "target_tokens", "target_offsets", "folds", "weight", "task")
