"""Convert a torch Transformer to a CTranslate2 model specification."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
from ctranslate2.specs import common_spec, transformer_spec
from torch import Tensor, nn

from textmill.base.errors import UserError
from textmill.model.attention import Attention
from textmill.model.decoder_only import CausalLayer, DecoderOnly
from textmill.model.encoder_decoder import DecoderLayer, EncoderDecoder, EncoderLayer
from textmill.model.interface import Seq2SeqModel
from textmill.model.layers import NORM_EPSILON, AddNorm, FeedForward
from textmill.model.positions import Learned
from textmill.model.shape import Shape
from textmill.tokenizer.special import BEGIN, END, UNKNOWN

_ACTIVATIONS = {"relu": common_spec.Activation.RELU, "gelu": common_spec.Activation.GELU, "swiglu": common_spec.Activation.SWISH}
QUANTIZATIONS: dict[str, str | None] = {"float32": None, "int8": "int8"}


def write_ct2(model: Seq2SeqModel, pieces: list[str], folder: Path, quantization: str) -> None:
    """Write model.bin, config.json and shared_vocabulary.json into `folder`.

    config.json also records the architecture, and max_positions for learned positions.
    pieces: the pieces of the tokenizer, in order of their ids.
    quantization: a key of QUANTIZATIONS. int8 is symmetric with one scale per output row; activations are scaled per token at run time.
    Raises UserError for an architecture without CTranslate2 layers.
    """
    if isinstance(model, EncoderDecoder):
        spec = _encoder_decoder_spec(model)
        spec.register_source_vocabulary(pieces)
        spec.register_target_vocabulary(pieces)
        spec.config.decoder_start_token = pieces[BEGIN]
        spec.config.add_source_bos = spec.config.add_source_eos = False
    elif isinstance(model, DecoderOnly):
        spec = transformer_spec.TransformerDecoderModelSpec(_decoder_spec(model, has_encoder=False))
        spec.register_vocabulary(pieces)
    else:
        raise UserError(
            f"architecture {model.shape.architecture} cannot be exported, because CTranslate2 has no such layers."
            " Set model.architecture to encoder_decoder or decoder_only, or use the torch model (`dvc repro evaluate@student`)."
        )
    spec.config.bos_token, spec.config.eos_token, spec.config.unk_token = pieces[BEGIN], pieces[END], pieces[UNKNOWN]
    spec.config.layer_norm_epsilon = NORM_EPSILON
    spec.config.add_attribute("architecture", model.shape.architecture)
    if model.shape.max_positions:
        spec.config.add_attribute("max_positions", model.shape.max_positions)
    spec.validate()
    spec.optimize(quantization=QUANTIZATIONS[quantization])
    spec.save(str(folder))
    if isinstance(model, DecoderOnly):  # one file name for all architectures; the engine passes it to CTranslate2 as vocabulary.json
        (folder / "vocabulary.json").replace(folder / "shared_vocabulary.json")


def _options(shape: Shape, heads: int, key_value_heads: int) -> dict[str, Any]:
    options: dict[str, Any] = {
        "pre_norm": shape.norm_position == "pre",
        "activation": _ACTIVATIONS[shape.activation],
        "ffn_glu": shape.activation == "swiglu",
        "rms_norm": shape.norm == "rms_norm",
        "num_heads_kv": key_value_heads if key_value_heads != heads else None,
        "head_dim": 1,  # declares the attribute; _fill_head_width sets the value, because in a pruned model it is larger than width / heads
    }
    if shape.positions == "rotary":
        options |= {"rotary_dim": 0, "rotary_interleave": False}  # rotate all dimensions of a head; dimension i is paired with i + K/2
    return options


def _encoder_decoder_spec(model: EncoderDecoder) -> transformer_spec.TransformerSpec:
    shape = model.shape
    options = _options(shape, shape.encoder_heads, shape.encoder_key_value_heads)
    encoder = transformer_spec.TransformerEncoderSpec(len(model.encoder), shape.encoder_heads, **options)
    for spec, layer in zip(encoder.layer, model.encoder, strict=True):
        assert isinstance(layer, EncoderLayer)
        _fill_self_attention(spec.self_attention, layer.self_attention, layer.self_attention_norm)
        _fill_feed_forward(spec.ffn, layer.feed_forward, layer.feed_forward_norm)
    encoder.scale_embeddings = True  # by sqrt(width)
    encoder.embeddings[0].weight = _array(model.tokens.source.weight)
    _fill_ends(encoder, model.encoder_norm, model.source_positions)
    return transformer_spec.TransformerSpec(encoder, _decoder_spec(model, has_encoder=True))


def _decoder_spec(model: EncoderDecoder | DecoderOnly, has_encoder: bool) -> transformer_spec.TransformerDecoderSpec:
    shape = model.shape
    options = _options(shape, shape.decoder_heads, shape.decoder_key_value_heads)
    decoder = transformer_spec.TransformerDecoderSpec(
        len(model.decoder), shape.decoder_heads, with_encoder_attention=has_encoder, **options
    )
    for spec, module in zip(decoder.layer, model.decoder, strict=True):
        layer = cast(DecoderLayer | CausalLayer, module)
        _fill_self_attention(spec.self_attention, layer.self_attention, layer.self_attention_norm)
        if isinstance(layer, DecoderLayer):
            _fill_cross_attention(spec.attention, layer.cross_attention, layer.cross_attention_norm)
        _fill_feed_forward(spec.ffn, layer.feed_forward, layer.feed_forward_norm)
    decoder.scale_embeddings = True  # by sqrt(width)
    decoder.embeddings.weight = _array(model.tokens.target.weight)
    decoder.projection.weight = _array(model.tokens.output_weight)  # equal arrays are stored once
    decoder.projection.bias = _array(model.tokens.output_bias)
    _fill_ends(decoder, model.decoder_norm, model.target_positions if isinstance(model, EncoderDecoder) else model.positions)
    return decoder


def _fill_ends(spec: common_spec.LayerSpec, norm: nn.Module, positions: nn.Module) -> None:
    if not isinstance(norm, nn.Identity):
        _fill_norm(spec.layer_norm, norm)
    if isinstance(positions, Learned):
        spec.position_encodings.encodings = _array(positions.table)


def _fill_self_attention(spec: common_spec.LayerSpec, attention: Attention, norm: AddNorm) -> None:
    _fill_norm(spec.layer_norm, norm.norm)
    _fill_linear(spec.linear[0], attention.projection)
    _fill_linear(spec.linear[1], attention.output)
    _fill_head_width(spec, attention)


def _fill_cross_attention(spec: common_spec.LayerSpec, attention: Attention, norm: AddNorm) -> None:
    _fill_norm(spec.layer_norm, norm.norm)
    queries = attention.qkv_sizes[0]
    _fill_linear(spec.linear[0], attention.projection, slice(None, queries))
    _fill_linear(spec.linear[1], attention.projection, slice(queries, None))
    _fill_linear(spec.linear[2], attention.output)
    _fill_head_width(spec, attention)


def _fill_head_width(spec: common_spec.LayerSpec, attention: Attention) -> None:
    spec.head_dim = np.dtype("int32").type(attention.head_width)
    spec.queries_scale = float(attention.head_width**-0.5)


def _fill_feed_forward(spec: common_spec.LayerSpec, feed_forward: FeedForward, norm: AddNorm) -> None:
    _fill_norm(spec.layer_norm, norm.norm)
    if feed_forward.gate is None:
        _fill_linear(spec.linear_0, feed_forward.up)
    else:
        _fill_linear(spec.linear_0, feed_forward.gate)
        _fill_linear(spec.linear_0_noact, feed_forward.up)
    _fill_linear(spec.linear_1, feed_forward.down)


def _fill_norm(spec: common_spec.LayerNormSpec, norm: nn.Module) -> None:
    assert isinstance(norm, (nn.LayerNorm, nn.RMSNorm))
    spec.gamma = _array(norm.weight)
    if isinstance(norm, nn.LayerNorm):
        spec.beta = _array(norm.bias)


def _fill_linear(spec: common_spec.LinearSpec, linear: nn.Linear, rows: slice = slice(None)) -> None:
    """Copy weight and bias. rows: the outputs to copy."""
    spec.weight, spec.bias = _array(linear.weight[rows]), _array(linear.bias[rows])


def _array(parameter: Tensor) -> np.ndarray:
    # A copy, because `spec.optimize` multiplies in place, and numpy() shares memory with the model.
    array: np.ndarray = parameter.detach().cpu().clone().numpy()
    return array
