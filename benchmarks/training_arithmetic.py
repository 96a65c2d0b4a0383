"""Compute the operations, parameters and bytes of a training step.

Dimensions: D model width, F feed-forward width, V vocabulary, S and T real tokens of a source and a target.
"""

from __future__ import annotations

import torch
from training_shapes import TrainingShape

from textmill.encode.batching import Batch
from textmill.tokenizer.special import PAD

# Peak operations per second of dense matrix products, from the data sheets: (bfloat16, float32 without TF32).
_PEAKS = {
    "H100 80GB HBM3": (989e12, 67e12),
    "H200": (989e12, 67e12),
    "A100-SXM4": (312e12, 19.5e12),
}


def flops_of_a_step(shape: TrainingShape, batch: Batch) -> float:
    """Count the floating-point operations of a training step. Padding does not count.

    Matrix products: 6 per parameter and token (2 forward, 4 backward; Kaplan et al. 2020, section 2.1). The parameters are:
    encoder layer: 4 D^2 + 2 D F per source token.
    decoder layer: 6 D^2 + 2 D F per target token, and 2 D^2 (keys and values) per source token.
    output layer: D V per target token. Embedding lookups need no operations.
    Attention: 12 D per layer and pair of positions, masked or not (Chowdhery et al. 2022, appendix B). There are S^2 pairs in the encoder,
    and T^2 + S T in the decoder.
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
    """Count the parameters of textmill: matrices with biases, two or three layer norms per layer, a tied embedding, the output bias."""
    width, inner = shape.model.width, shape.model.feed_forward
    attention, norm = 4 * width**2 + 4 * width, 2 * width
    feed_forward = 2 * width * inner + inner + width
    encoder = shape.model.encoder_layers * (attention + feed_forward + 2 * norm) + norm
    decoder = shape.model.decoder_layers * (2 * attention + feed_forward + 3 * norm) + norm
    return encoder + decoder + shape.vocabulary_size * (width + 1)


def activation_bytes(shape: TrainingShape, batch: Batch, precision: str) -> int:
    """Compute the bytes that the layers of textmill keep for the backward pass of `batch` on a CPU, padding included.

    An encoder layer keeps 8 D + 2 F numbers per position: two residuals, two norms, query, key, value, attention output, and both sides
    of the feed-forward dropout. A decoder layer keeps 12 D + 2 F numbers per target position, and 2 D per source position.
    Dropout masks are slices of one pool, so they do not count here.
    In bfloat16, attention gets query, key and value in float32 (2 more bytes each), and keeps its float32 output (4 bytes).
    The statistics of layer norms and the normalizers of attention are left out; they are about 1 %.
    """
    model, source, target = shape.model, batch.source.numel(), batch.target_input.numel()
    width, inner, size = model.width, model.feed_forward, 4 if precision == "float32" else 2
    copies = 0 if precision == "float32" else width
    encoder = source * (size * (8 * width + 2 * inner) + 10 * copies)
    decoder = target * (size * (12 * width + 2 * inner) + 16 * copies) + source * (size * 2 * width + 4 * copies)
    return model.encoder_layers * encoder + model.decoder_layers * decoder


def megabytes_by_hand(shape: TrainingShape, batches: list[Batch], precision: str) -> dict[str, float]:
    """Compute the memory of textmill on a CPU at the largest batch, in megabytes.

    parameters: with bfloat16, including the float32 copies that are trained.
    optimizer: the two moments of Adam.
    loss: a chunk of logits, a chunk of probabilities, and the gradient of the output projection, in float32.
    dropout_pool: 2^23 numbers.
    Not included: working memory of torch, and memory that malloc keeps.
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
    """Return the peak speed of the GPU of this machine, or None if it is not in the table."""
    name = torch.cuda.get_device_name()
    return next((peaks[precision == "float32"] for known, peaks in _PEAKS.items() if known in name), None)
