"""Initialize a model from an earlier model or from pretrained embeddings. Dimensions: V vocabulary, D model width."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from textmill.base.errors import UserError
from textmill.base.files import sha256_of
from textmill.base.tensors import read_tensors
from textmill.model.interface import Seq2SeqModel


def load_initial_weights(model: Seq2SeqModel, path: Path, sha256: str) -> str:
    """Copy every tensor of an earlier model whose name and shape match one of `model` (transfer learning).

    path: model.safetensors, or the folder that contains it.
    sha256: expected hash of the file.
    Returns one line that says how many tensors and parameters were copied.
    Raises UserError if the file is missing or has another hash, if the vocabulary sizes differ, or if no tensor matches.
    """
    file = path / "model.safetensors" if path.is_dir() else path
    if file.is_file() and (found := sha256_of(file)) != sha256:
        raise UserError(
            f"{file}: the SHA-256 is {found}, but train.init_sha256 is {sha256}. If this is the right file, correct the setting."
        )
    tensors, metadata = read_tensors(file)
    theirs, ours = metadata.get("shape", {}).get("vocabulary_size"), model.shape.vocabulary_size
    if theirs != ours:
        raise UserError(
            f"{file}: the vocabulary has {theirs} pieces, but this model needs {ours}. Start from a model with the same tokenizer,"
            " or remove train.init_from."
        )
    own = dict(model.named_parameters())
    fitting = {
        name: tensor for name, tensor in tensors.items() if name in own and own[name].shape == tensor.shape and tensor.is_floating_point()
    }
    if not fitting:
        raise UserError(f"{file}: no tensor matches this model in name and shape. Use the section model of the earlier model.")
    with torch.no_grad():
        for name, tensor in fitting.items():
            own[name].copy_(tensor)
    taken, total = sum(tensor.numel() for tensor in fitting.values()), sum(parameter.numel() for parameter in own.values())
    return f"{file}: copied {len(fitting)} of {len(own)} tensors, {taken:,} of {total:,} parameters"


def start_embeddings(model: Seq2SeqModel, vectors: Tensor) -> None:
    """Initialize the source and target embeddings with `vectors` (V, D). A tied output layer shares them."""
    with torch.no_grad():
        for embedding in (model.tokens.source, model.tokens.target):
            embedding.weight.copy_(vectors)
