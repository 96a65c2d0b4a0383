from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch

from textmill.base.errors import UserError
from textmill.base.tensors import write_tensors
from textmill.model.interface import Seq2SeqModel
from textmill.model.weights import load_model, save_model


def test_what_is_saved_is_loaded(model: Seq2SeqModel, tmp_path: Path) -> None:
    save_model(tmp_path / "m", model)
    loaded = load_model(tmp_path / "m")
    assert loaded.shape == model.shape
    assert all(torch.equal(tensor, loaded.state_dict()[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *((key, value) for key in ("dropout", "attention_dropout") for value in (math.nan, -0.1, 1.0, "0.1", True, None)),
        ("width", -16),
        ("width", 1 << 40),
        ("width", "16"),
        ("decoder_feed_forward", [32, -1]),
        ("architecture", "other"),
        ("more", 1),
    ],
)
def test_a_shape_that_no_settings_allow_is_refused_in_one_line(model: Seq2SeqModel, tmp_path: Path, key: str, value: Any) -> None:
    write_tensors(tmp_path / "m", model.state_dict(), {"shape": asdict(model.shape) | {key: value}})
    with pytest.raises(UserError, match=r"^[^\n]*m: not a model of this version [^\n]*$"):
        load_model(tmp_path / "m")


@pytest.mark.parametrize("kind", [torch.int64, torch.int8, torch.bool])
def test_integer_weights_are_refused(model: Seq2SeqModel, tmp_path: Path, kind: torch.dtype) -> None:
    state = model.state_dict()
    name = next(iter(state))
    write_tensors(tmp_path / "m", state | {name: torch.ones_like(state[name]).to(kind)}, {"shape": asdict(model.shape)})
    with pytest.raises(UserError, match=rf"not a model of this version of textmill \({name} is {kind}, not torch.float32\)"):
        load_model(tmp_path / "m")


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_weights_with_nan_or_infinity_are_not_loaded(model: Seq2SeqModel, tmp_path: Path, value: float) -> None:
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    next(iter(state.values())).view(-1)[3] = value
    write_tensors(tmp_path / "m", state, {"shape": asdict(model.shape)})
    with pytest.raises(UserError, match=r"m: contains NaN or infinity"):
        load_model(tmp_path / "m")


@pytest.mark.parametrize("change", ["missing", "more", "other shape"])
def test_other_tensors_than_the_shape_says_are_not_loaded(model: Seq2SeqModel, tmp_path: Path, change: str) -> None:
    state = dict(model.state_dict())
    name = next(iter(state))
    if change == "missing":
        del state[name]
    elif change == "more":
        state["../../etc/passwd"] = torch.zeros(1)
    else:
        state[name] = state[name][None]
    write_tensors(tmp_path / "m", state, {"shape": asdict(model.shape)})
    with pytest.raises(UserError, match=r"^[^\n]*m: not a model of this version [^\n]*$"):
        load_model(tmp_path / "m")
