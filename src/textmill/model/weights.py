"""A model's weights and shape in one safetensors file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import torch

from textmill.base.errors import UserError
from textmill.base.tensors import read_tensors, write_tensors
from textmill.model.factory import build_model
from textmill.model.interface import Seq2SeqModel
from textmill.model.shape import Shape


def save_model(path: Path, model: Seq2SeqModel) -> None:
    """Write weights and shape. Raises UserError if a weight is NaN or infinite."""
    state = model.state_dict()
    for name, tensor in state.items():
        if not torch.isfinite(tensor).all():
            raise UserError(f"{path}: not written, because {name} contains NaN or infinity. Lower train.learning_rate.")
    write_tensors(path, state, {"shape": asdict(model.shape)})


def load_model(path: Path) -> Seq2SeqModel:
    """Read a file written by `save_model`. Returns the model on the CPU, in evaluation mode.

    Raises UserError if the file is missing or damaged, if its tensors do not match its shape, or if a number is NaN or infinite.
    """
    tensors, metadata = read_tensors(path)
    try:
        model = build_model(Shape.from_json(metadata["shape"]))
        _require_types(model, tensors)
        model.load_state_dict(tensors)
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        reason = str(error).replace("\n", " ")
        raise UserError(f"{path}: not a model of this version of textmill ({reason}). Remove it and run `dvc repro`.") from None
    if not all(bool(torch.isfinite(tensor).all()) for tensor in tensors.values()):
        raise UserError(f"{path}: contains NaN or infinity. Remove it and run `dvc checkout`.")
    return model.eval()


def _require_types(model: Seq2SeqModel, tensors: Mapping[str, torch.Tensor]) -> None:
    """Raise TypeError if integers are given for floats, or floats for integers: torch would convert them silently."""
    for name, tensor in model.state_dict().items():
        if name in tensors and tensors[name].is_floating_point() != tensor.is_floating_point():
            raise TypeError(f"{name} is {tensors[name].dtype}, not {tensor.dtype}")
