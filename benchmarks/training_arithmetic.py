"""What a training step needs by arithmetic: operations, parameters and bytes.

Dimensions: D model width, F feed-forward width, V vocabulary, S and T real tokens of a source and a target.
"""

from __future__ import annotations

import torch
from training_shapes import TrainingShape

from textmill.encode.batching import Batch
from textmill.tokenizer.special import PAD

# Dense matrix products, operations a second, by the manufacturer's data sheets: (bfloat16, float32 without TF32).
_PEAKS = {
    "H100 80GB HBM3": (989e12, 67e12),
    "H200": (989e12, 67e12),
    "A100-SXM4": (312e12, 19.5e12),
}


def flops_of_a_step(shape: TrainingShape, batch: Batch) -> float:
    """Floating-point operations of a training step, of real tokens only: padding is no work done.

    6 for each parameter of a matrix and token that goes through it (2 forward, 4 backward; Kaplan et al. 2020, section 2.1):
    an encoder layer has 4 D^2 + 2 D F a source token, a decoder layer 6 D^2 + 2 D F a target token and 2 D^2 (keys and values) a
    source token, the output D V a target token; looking up an embedding is none. Attention: 12 D a pair of positions
    and layer, S^2 and T^2 + S T in all, masked or not (Chowdhery et al. 2022, appendix B).
    """
    model = shape.model
    width, inner = model.width, model.feed_forward
    source = (batch.source != PAD).sum(1).double()  # (B,)
    target = (batch.target_output != PAD).sum(1).double()  # (B,)
    per_source = model.encoder_layers * (4 * width**2 + 2 * width * inner) + model.decoder_layers * 2 * width**2
    per_target = model.decoder_layers * (6 * width**2 + 2 * width * inner) + width * shape.vocabulary_size
    products = 6 * (per_source * source.sum() + per_target * target.sum())
    attended = model.encoder_layers * (source**2).sum() + model.decoder_layers * (target**2 + source * target).sum()
    return float(products + 12 * width * attended)


def parameters_of(shape: TrainingShape) -> int:
    """Numbers that ours trains: matrices with their biases, two or three layer norms a layer, a tied embedding, the output's bias."""
    width, inner = shape.model.width, shape.model.feed_forward
    attention, norm = 4 * width**2 + 4 * width, 2 * width
    feed_forward = 2 * width * inner + inner + width
    encoder = shape.model.encoder_layers * (attention + feed_forward + 2 * norm) + norm
    decoder = shape.model.decoder_layers * (2 * attention + feed_forward + 3 * norm) + norm
    return encoder + decoder + shape.vocabulary_size * (width + 1)


def activation_bytes(shape: TrainingShape, batch: Batch, precision: str) -> int:
    """What the layers of ours keep for the backward pass of `batch` on a CPU, padding included.

    A position of an encoder layer keeps 8 D + 2 F numbers (two residuals, two norms, query, key, value, what was attended to,
    both sides of the feed-forward's dropout), of a decoder layer 12 D + 2 F, and 2 D a source position. Dropout masks are slices of
    one pool. In bfloat16, attention gets query, key and value in float32 (2 bytes more each) and keeps its float32 output (4).
    Left out, since about 1 %: the layer norms' statistics and attention's normalizers.
    """
    model, source, target = shape.model, batch.source.numel(), batch.target_input.numel()
    width, inner, size = model.width, model.feed_forward, 4 if precision == "float32" else 2
    copies = 0 if precision == "float32" else width
    encoder = source * (size * (8 * width + 2 * inner) + 10 * copies)
    decoder = target * (size * (12 * width + 2 * inner) + 16 * copies) + source * (size * 2 * width + 4 * copies)
    return model.encoder_layers * encoder + model.decoder_layers * decoder


def megabytes_by_hand(shape: TrainingShape, batches: list[Batch], precision: str) -> dict[str, float]:
    """Of ours on a CPU, at the largest batch.

    parameters: in bfloat16 also float32 ones that are trained. optimizer: Adam's two moments. loss: a chunk of logits, one of
    probabilities, and the projection's gradient, float32. dropout_pool: 2^23 masks. Not in it: torch's own working memory, and what malloc keeps.
    """
    parameters, size = parameters_of(shape), 4 if precision == "float32" else 2
    parts = {
        "parameters": (4 if precision == "float32" else 2 + 4) * parameters,
        "gradients": 4 * parameters,
        "optimizer": 8 * parameters,
        "activations": max(activation_bytes(shape, batch, precision) for batch in batches),
        "loss": 2 * 2**24 + 4 * shape.vocabulary_size * shape.model.width,
        "dropout_pool": size * 2**23,
    }
    return {name: round(value / 1e6, 1) for name, value in (parts | {"sum": sum(parts.values())}).items()}


def peak_flops_per_second(precision: str) -> float | None:
    """Of this machine's GPU, or None for one that is not in the table."""
    name = torch.cuda.get_device_name()
    return next((peaks[precision == "float32"] for known, peaks in _PEAKS.items() if known in name), None)
