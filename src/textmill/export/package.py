"""Export the model: one folder per number format. Running it needs only ctranslate2 and sentencepiece."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from textmill.base.errors import UserError
from textmill.base.files import sha256_of, write_bytes, write_json
from textmill.decode.ct2_engine import CTranslate2Engine
from textmill.decode.settings import DecodeSettings
from textmill.decode.torch_engine import TorchEngine
from textmill.encode.encoded_corpus import EncodedCorpus
from textmill.export.ct2_spec import QUANTIZATIONS, write_ct2
from textmill.export.parity import Parity, compare_engines
from textmill.export.settings import ExportSettings
from textmill.model.interface import Seq2SeqModel, num_parameters
from textmill.model.weights import load_model
from textmill.tokenizer.tokenizer import Tokenizer

_REMEDY = "Nothing was written. If you accept this value, change the limit and run `dvc repro` again; nothing is retrained."
_MODEL_FILES = ("model.bin", "config.json", "shared_vocabulary.json")


def export_model(
    weights: Path,
    corpus: EncodedCorpus,
    tokenizer: Tokenizer,
    folder: Path,
    export: ExportSettings,
    decode: DecodeSettings,
    of_tasks: Mapping[str, Any] = MappingProxyType({}),
) -> dict[str, Any]:
    """Convert the model in `weights` to float32 and int8, check it, and then write `folder`/float32 and `folder`/int8.

    corpus: parity is measured on its first pairs with a source.
    of_tasks: the optional keys of generation.json, which replace those of `decode`; see serving/generation.py.
    Returns parity, sizes and tasks.
    Raises UserError with the measured number if a check of `export` fails, or if no pair has a source. Then nothing is written.
    """
    model, rows = load_model(weights), _parity_rows(corpus, export.parity_sentences)
    with tempfile.TemporaryDirectory(prefix="textmill-export-") as temporary:
        candidates = {name: Path(temporary) / name for name in QUANTIZATIONS}
        for name, candidate in candidates.items():
            candidate.mkdir()
            write_ct2(model, tokenizer.pieces, candidate, name)
        parities = _parities(model, candidates, corpus, rows, decode)
        size_ratio = (candidates["int8"] / "model.bin").stat().st_size / weights.stat().st_size
        _require(parities["float32"], size_ratio, export)
        for name, candidate in candidates.items():
            _write_package(candidate, folder / name, tokenizer, asdict(decode) | {"tasks": corpus.tasks} | dict(of_tasks))
    return {
        "parity": {name: asdict(parity) for name, parity in parities.items()},
        "parity_sentences": len(rows),
        "size_bytes": {name: (folder / name / "model.bin").stat().st_size for name in QUANTIZATIONS},
        "parameters": num_parameters(model),
        "torch_size_bytes": weights.stat().st_size,
        "size_ratio": size_ratio,
        "tasks": corpus.tasks,
    }


def _parity_rows(corpus: EncodedCorpus, number: int) -> list[int]:
    """Return the first pairs whose source is not empty: the model defines no probability for the others."""
    rows: list[int] = np.flatnonzero(corpus.lengths()[0])[:number].tolist()
    if not rows:
        raise UserError("every source of the training pairs is empty, so the export cannot be compared with torch. Give them a prompt.")
    return rows


def _parities(
    model: Seq2SeqModel, candidates: dict[str, Path], corpus: EncodedCorpus, rows: Sequence[int], decode: DecodeSettings
) -> dict[str, Parity]:
    sources, targets = [corpus.source(row) for row in rows], [corpus.target(row) for row in rows]
    reference = TorchEngine([model])
    return {
        name: compare_engines(reference, CTranslate2Engine(candidate), sources, targets, decode) for name, candidate in candidates.items()
    }


def _require(parity: Parity, size_ratio: float, export: ExportSettings) -> None:
    if parity.max_log_probability_difference > export.max_log_probability_difference:
        raise UserError(
            f"a log probability of the float32 export differs from torch by {parity.max_log_probability_difference:.1e} nats"
            f" (export.max_log_probability_difference: {export.max_log_probability_difference:.1e}). {_REMEDY}"
        )
    if parity.identical < export.min_identical:
        raise UserError(
            f"the share of outputs of the float32 export that are identical to torch is {parity.identical:.4f}"
            f" (export.min_identical: {export.min_identical}). {_REMEDY}"
        )
    if size_ratio > export.max_size_ratio:
        raise UserError(
            f"the int8 model has {size_ratio:.3f} times the size of the torch weights (export.max_size_ratio:"
            f" {export.max_size_ratio}). Biases, norms and learned positions stay float32; in a narrow model, they are a larger"
            f" share. {_REMEDY}"
        )


def _write_package(candidate: Path, folder: Path, tokenizer: Tokenizer, generation: dict[str, Any]) -> None:
    for name in _MODEL_FILES:
        write_bytes(folder / name, (candidate / name).read_bytes())
    tokenizer.save(folder / "tokenizer.model")
    write_json(folder / "generation.json", generation)
    names = sorted([*_MODEL_FILES, "tokenizer.model", "generation.json"])
    write_json(folder / "manifest.json", {"files": {name: sha256_of(folder / name) for name in names}})
