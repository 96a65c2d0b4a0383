"""Structured pruning: whole heads and feed-forward units leave the matrices, so that the model is smaller and faster
in every engine.

Dimensions: D model width, H heads, K head width, F feed-forward width.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from textmill.errors import UserError
from textmill.model.layers import Attention, FeedForward
from textmill.model.transformer import Shape, Transformer
from textmill.settings.training import PruneSettings


def prune_model(model: Transformer, importances: dict[str, Tensor], prune: PruneSettings) -> Transformer:
    """A smaller model that computes what `model` does without its least important heads and units.

    importances: from `importance`. Heads: the same number in every layer of a stack, since CTranslate2 has one number a
    stack; which ones is free. Units: one ranking over all layers, each layer's importances divided by their norm, so
    that the profile over the depth is learned. Raises UserError if more heads are to stay than there are.
    """
    for stack, wanted, present in (
        ("encoder", prune.encoder_heads, model.shape.encoder_heads),
        ("decoder", prune.decoder_heads, model.shape.decoder_heads),
    ):
        if wanted > present:
            raise UserError(f"params.yaml: prune.{stack}_heads is {wanted}, but the student has {present}. Lower it.")
    units = _units_to_keep(model, importances, prune)
    shape = replace(
        model.shape,
        encoder_heads=prune.encoder_heads,
        decoder_heads=prune.decoder_heads,
        encoder_feed_forward=tuple(len(units[f"encoder.{i}.feed_forward"]) for i in range(len(model.encoder))),
        decoder_feed_forward=tuple(len(units[f"decoder.{i}.feed_forward"]) for i in range(len(model.decoder))),
    )
    return _sliced(model, shape, importances, units)


def _units_to_keep(model: Transformer, importances: dict[str, Tensor], prune: PruneSettings) -> dict[str, Tensor]:
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


def _sliced(model: Transformer, shape: Shape, importances: dict[str, Tensor], units: dict[str, Tensor]) -> Transformer:
    state = dict(model.state_dict())
    for name, module in model.named_modules():
        if isinstance(module, Attention):
            count = shape.encoder_heads if name.startswith("encoder.") else shape.decoder_heads
            heads = _best(importances[name], count)
            places = (heads[:, None] * module.head_width + torch.arange(module.head_width)).flatten()  # (count * K,)
            both = torch.cat((places, places + module.num_heads * module.head_width))  # keys, then values
            _take(state, f"{name}.query", rows=places)
            _take(state, f"{name}.key_value", rows=both)
            _take(state, f"{name}.output", columns=places)
        elif isinstance(module, FeedForward):
            _take(state, f"{name}.up", rows=units[name])
            _take(state, f"{name}.down", columns=units[name])
    sliced = Transformer(shape)
    sliced.load_state_dict(state)
    return sliced.eval()


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
