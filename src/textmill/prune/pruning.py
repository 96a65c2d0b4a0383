"""Structured pruning: whole heads and feed-forward units leave the matrices, so that the model is smaller and faster
in every engine.

Dimensions: D model width, H heads, K head width, F feed-forward width.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from textmill.base.errors import UserError
from textmill.model.attention import Attention
from textmill.model.factory import build_model
from textmill.model.interface import Seq2SeqModel
from textmill.model.layers import FeedForward
from textmill.model.shape import Shape
from textmill.prune.settings import PruneSettings


def prune_model(model: Seq2SeqModel, importances: dict[str, Tensor], prune: PruneSettings) -> Seq2SeqModel:
    """A smaller model that computes what `model` does without its least important heads and units.

    importances: from `importance`. Heads: the same number in every layer of a stack, since CTranslate2 has one number a
    stack; which ones is free, but heads that share a key and a value go together. Units: one ranking over all layers, each layer's importances divided by their norm, so
    that the profile over the depth is learned. Raises UserError if more heads are to stay than there are, or a part of a group.
    """
    old = model.shape
    if old.encoder_feed_forward:
        _require_possible("encoder", prune.encoder_heads, old.encoder_heads, old.encoder_key_value_heads)
    _require_possible("decoder", prune.decoder_heads, old.decoder_heads, old.decoder_key_value_heads)
    encoder_heads = prune.encoder_heads if old.encoder_feed_forward else old.encoder_heads
    units = _units_to_keep(model, importances, prune)
    shape = replace(
        old,
        encoder_heads=encoder_heads,
        decoder_heads=prune.decoder_heads,
        encoder_key_value_heads=encoder_heads * old.encoder_key_value_heads // old.encoder_heads,
        decoder_key_value_heads=prune.decoder_heads * old.decoder_key_value_heads // old.decoder_heads,
        encoder_feed_forward=tuple(len(units[f"encoder.{i}.feed_forward"]) for i in range(len(old.encoder_feed_forward))),
        decoder_feed_forward=tuple(len(units[f"decoder.{i}.feed_forward"]) for i in range(len(old.decoder_feed_forward))),
    )
    return _sliced(model, shape, importances, units)


def _require_possible(stack: str, wanted: int, present: int, key_value_heads: int) -> None:
    group = present // key_value_heads
    if wanted > present:
        raise UserError(f"params.yaml: prune.{stack}_heads is {wanted}, but the student has {present}. Lower it.")
    if wanted % group != 0:
        raise UserError(
            f"params.yaml: prune.{stack}_heads is {wanted}, but {group} heads share a key and go together. Make it a multiple of {group}."
        )


def _units_to_keep(model: Seq2SeqModel, importances: dict[str, Tensor], prune: PruneSettings) -> dict[str, Tensor]:
    """Feed-forward units that stay, by module name, in their order."""
    scores = {
        name: importances[name] / importances[name].norm().clamp_min(1e-12)
        for name, module in model.named_modules()
        if isinstance(module, FeedForward)
    }
    threshold = torch.cat(list(scores.values())).quantile(prune.feed_forward_removed)
    kept = {}
    for name, score in scores.items():
        above = int((score >= threshold).sum())
        rounded = max(round(above / prune.multiple_of), 1) * prune.multiple_of
        kept[name] = _best(score, min(rounded, len(score)))
    return kept


def _sliced(model: Seq2SeqModel, shape: Shape, importances: dict[str, Tensor], units: dict[str, Tensor]) -> Seq2SeqModel:
    state = dict(model.state_dict())
    for name, module in model.named_modules():
        if isinstance(module, Attention):
            count = shape.encoder_key_value_heads if name.startswith("encoder.") else shape.decoder_key_value_heads
            groups = _best(importances[name].view(module.key_value_heads, -1).sum(1), count)  # (count,)
            queries = _places(groups, module.head_width * module.num_heads // module.key_value_heads)
            keys = _places(groups, module.head_width)
            first_key, first_value, _ = torch.tensor(module.qkv_sizes).cumsum(0).tolist()
            _take(state, f"{name}.projection", rows=torch.cat((queries, keys + first_key, keys + first_value)))
            _take(state, f"{name}.output", columns=queries)
        elif isinstance(module, FeedForward):
            for linear in ("gate", "up") if module.gate is not None else ("up",):
                _take(state, f"{name}.{linear}", rows=units[name])
            _take(state, f"{name}.down", columns=units[name])
    sliced = build_model(shape)
    sliced.load_state_dict(state)
    return sliced.eval()


def _places(blocks: Tensor, size: int) -> Tensor:
    """Rows of the given blocks of `size` rows each."""
    return (blocks[:, None] * size + torch.arange(size)).flatten()


def _take(state: dict[str, Tensor], linear: str, rows: Tensor | None = None, columns: Tensor | None = None) -> None:
    """Keep some outputs (rows) or inputs (columns) of a linear layer."""
    weight, bias = state[f"{linear}.weight"], state[f"{linear}.bias"]
    if rows is not None:
        weight, bias = weight[rows], bias[rows]
    if columns is not None:
        weight = weight[:, columns]
    state[f"{linear}.weight"], state[f"{linear}.bias"] = weight, bias


def _best(scores: Tensor, count: int) -> Tensor:
    """Places of the `count` largest, in ascending order; of equal ones the first."""
    return scores.cpu().sort(descending=True, stable=True).indices[:count].sort().values
