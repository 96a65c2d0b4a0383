"""Structured pruning: remove attention heads and feed-forward units from the matrices, so the model is smaller and faster everywhere.

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
    """Return a copy of `model` without its least important heads and feed-forward units.

    importances: from `importance`.
    Heads: every layer of a stack keeps the same number, because CTranslate2 has one number per stack. Each layer keeps its most
    important ones. Heads that share keys and values are kept or removed together.
    Units: ranked over all layers, after each layer's importances are divided by their norm. So layers may keep different numbers.
    Raises UserError if the number of heads to keep is larger than the present number, or is not a multiple of the group size.
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
            f"params.yaml: prune.{stack}_heads is {wanted}, but groups of {group} heads share a key. Set it to a multiple of {group}."
        )


def _units_to_keep(model: Seq2SeqModel, importances: dict[str, Tensor], prune: PruneSettings) -> dict[str, Tensor]:
    """Return the indices of the feed-forward units to keep, per module name, in ascending order."""
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
            queries = _rows_of_blocks(groups, module.head_width * module.num_heads // module.key_value_heads)
            keys = _rows_of_blocks(groups, module.head_width)
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


def _rows_of_blocks(blocks: Tensor, size: int) -> Tensor:
    """Return the row indices of the given blocks of `size` rows each."""
    return (blocks[:, None] * size + torch.arange(size)).flatten()


def _take(state: dict[str, Tensor], linear: str, rows: Tensor | None = None, columns: Tensor | None = None) -> None:
    """Keep the given outputs (rows) or inputs (columns) of a linear layer."""
    weight, bias = state[f"{linear}.weight"], state[f"{linear}.bias"]
    if rows is not None:
        weight, bias = weight[rows], bias[rows]
    if columns is not None:
        weight = weight[:, columns]
    state[f"{linear}.weight"], state[f"{linear}.bias"] = weight, bias


def _best(scores: Tensor, count: int) -> Tensor:
    """Return the indices of the `count` largest scores, in ascending order. Of equal scores, the first is taken."""
    return scores.cpu().sort(descending=True, stable=True).indices[:count].sort().values
