"""Other starting points than random weights. Dimensions: V vocabulary, D model width."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from textmill.base.errors import UserError
from textmill.base.files import sha256_of
from textmill.base.tensors import read_tensors
from textmill.model.interface import Seq2SeqModel


def load_initial_weights(model: Seq2SeqModel, path: Path, sha256: str) -> str:
    """Copy every tensor of an earlier model that has the name and the shape of one of `model`'s (transfer learning).

    path: model.safetensors, or the folder that holds it. sha256: of the file. Returns one line: how much was taken.
    Raises UserError if the file is missing or another one, if the vocabularies differ in size, or if nothing fits.
    """
    file = path / "model.safetensors" if path.is_dir() else path
    if file.is_file() and (found := sha256_of(file)) != sha256:
        raise UserError(
            f"{file}: its SHA-256 is {found}, but train.init_sha256 is {sha256}. Is it the right file? Then correct the setting."
        )
    tensors, metadata = read_tensors(file)
    theirs, ours = metadata.get("shape", {}).get("vocabulary_size"), model.shape.vocabulary_size
    if theirs != ours:
        raise UserError(
            f"{file}: its vocabulary has {theirs} pieces, this model's has {ours}. Start from a model with the same tokenizer,"
            " or leave train.init_from out."
        )
    own = dict(model.named_parameters())
    fitting = {
        name: tensor for name, tensor in tensors.items() if name in own and own[name].shape == tensor.shape and tensor.is_floating_point()
    }
    if not fitting:
        raise UserError(f"{file}: no tensor has the name and shape of one of this model's. Make the section model that of the earlier one.")
    with torch.no_grad():
        for name, tensor in fitting.items():
            own[name].copy_(tensor)
    taken, total = sum(tensor.numel() for tensor in fitting.values()), sum(parameter.numel() for parameter in own.values())
    return f"{file}: took {len(fitting)} of {len(own)} tensors, {taken:,} of {total:,} parameters"


def start_embeddings(model: Seq2SeqModel, vectors: Tensor) -> None:
    """Start the embeddings of source and target from `vectors` (V, D); a tied output starts with them."""
    with torch.no_grad():
        for embedding in (model.tokens.source, model.tokens.target):
            embedding.weight.copy_(vectors)
