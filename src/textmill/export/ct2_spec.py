"""A torch Transformer as a CTranslate2 model specification."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from ctranslate2.specs import common_spec, transformer_spec
from torch import Tensor, nn

from textmill.model.layers import AddNorm, Attention, FeedForward
from textmill.model.transformer import DecoderLayer, EncoderLayer, Transformer
from textmill.tokens.special import BEGIN, END, UNKNOWN

_ACTIVATIONS = {"relu": common_spec.Activation.RELU, "gelu": common_spec.Activation.GELU}
QUANTIZATIONS: dict[str, str | None] = {"float32": None, "int8": "int8"}


def write_ct2(model: Transformer, pieces: list[str], folder: Path, quantization: str) -> None:
    """Write model.bin, config.json and shared_vocabulary.json into `folder`.

    pieces: the tokenizer's, in order of their ids. quantization: a key of QUANTIZATIONS; int8 is symmetric, one scale
    an output row, with activations scaled per token when the model runs.
    """
    spec = _model_spec(model)
    spec.register_source_vocabulary(pieces)
    spec.register_target_vocabulary(pieces)
    spec.config.bos_token, spec.config.eos_token, spec.config.unk_token = pieces[BEGIN], pieces[END], pieces[UNKNOWN]
    spec.config.decoder_start_token = pieces[BEGIN]
    spec.config.add_source_bos = spec.config.add_source_eos = False
    spec.config.layer_norm_epsilon = nn.LayerNorm(1).eps
    spec.validate()
    spec.optimize(quantization=QUANTIZATIONS[quantization])
    spec.save(str(folder))


def _model_spec(model: Transformer) -> transformer_spec.TransformerSpec:
    shape = model.shape
    # Declares head_dim; the real one is set in every attention, since a pruned head is wider than width / heads.
    common = {"pre_norm": shape.norm_position == "pre", "activation": _ACTIVATIONS[shape.activation], "head_dim": 1}
    encoder = transformer_spec.TransformerEncoderSpec(len(model.encoder), shape.encoder_heads, **common)
    decoder = transformer_spec.TransformerDecoderSpec(len(model.decoder), shape.decoder_heads, **common)
    for spec, layer in zip(encoder.layer, model.encoder, strict=True):
        assert isinstance(layer, EncoderLayer)
        _fill_self_attention(spec.self_attention, layer.self_attention, layer.self_attention_norm)
        _fill_feed_forward(spec.ffn, layer.feed_forward, layer.feed_forward_norm)
    for spec, layer in zip(decoder.layer, model.decoder, strict=True):
        assert isinstance(layer, DecoderLayer)
        _fill_self_attention(spec.self_attention, layer.self_attention, layer.self_attention_norm)
        _fill_cross_attention(spec.attention, layer.cross_attention, layer.cross_attention_norm)
        _fill_feed_forward(spec.ffn, layer.feed_forward, layer.feed_forward_norm)
    for spec, norm in ((encoder, model.encoder_norm), (decoder, model.decoder_norm)):
        spec.scale_embeddings = True  # by sqrt(width)
        if isinstance(norm, nn.LayerNorm):
            _fill_norm(spec.layer_norm, norm)
    encoder.embeddings[0].weight = _array(model.embedding.weight)
    decoder.embeddings.weight = _array(model.embedding.weight)
    decoder.projection.weight = _array(model.embedding.weight)  # equal arrays are stored once
    decoder.projection.bias = _array(model.output_bias)
    return transformer_spec.TransformerSpec(encoder, decoder)


def _fill_self_attention(spec: common_spec.LayerSpec, attention: Attention, norm: AddNorm) -> None:
    _fill_norm(spec.layer_norm, norm.norm)
    _fill_linear(spec.linear[0], attention.query, attention.key_value)
    _fill_linear(spec.linear[1], attention.output)
    _fill_head_width(spec, attention)


def _fill_cross_attention(spec: common_spec.LayerSpec, attention: Attention, norm: AddNorm) -> None:
    _fill_norm(spec.layer_norm, norm.norm)
    _fill_linear(spec.linear[0], attention.query)
    _fill_linear(spec.linear[1], attention.key_value)
    _fill_linear(spec.linear[2], attention.output)
    _fill_head_width(spec, attention)


def _fill_head_width(spec: common_spec.LayerSpec, attention: Attention) -> None:
    spec.head_dim = np.dtype("int32").type(attention.head_width)
    spec.queries_scale = float(attention.head_width**-0.5)


def _fill_feed_forward(spec: common_spec.LayerSpec, feed_forward: FeedForward, norm: AddNorm) -> None:
    _fill_norm(spec.layer_norm, norm.norm)
    _fill_linear(spec.linear_0, feed_forward.up)
    _fill_linear(spec.linear_1, feed_forward.down)


def _fill_norm(spec: common_spec.LayerNormSpec, norm: nn.LayerNorm) -> None:
    spec.gamma, spec.beta = _array(norm.weight), _array(norm.bias)


def _fill_linear(spec: common_spec.LinearSpec, *parts: nn.Linear) -> None:
    """Several linear layers of one input become one, their outputs side by side."""
    spec.weight = np.concatenate([_array(part.weight) for part in parts])
    spec.bias = np.concatenate([_array(part.bias) for part in parts])


def _array(parameter: Tensor) -> np.ndarray:
    # A copy: `spec.optimize` multiplies in place, and numpy() shares memory with the live model.
    array: np.ndarray = parameter.detach().cpu().clone().numpy()
    return array
