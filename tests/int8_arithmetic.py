"""The arithmetic of an exported int8 model, written in torch, as an independent reference for the tests of the export.

Rows of weights and of activations are scaled to -127..127 and rounded. Their products are then added up exactly where the processor has
instructions for that (VNNI) or CTranslate2 uses MKL. On other processors oneDNN adds them in pairs of 16 bits, after 128 was added to the
activations, and a pair that does not fit is cut to what does: with random weights that moves a log probability by up to 4 nats. So
a model says one of two things, and no tolerance fits both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from torch import Tensor
from torch.nn import functional

from textmill.decode.search import Engine
from textmill.decode.torch_engine import TorchEngine
from textmill.model.interface import Seq2SeqModel

INT8_TOLERANCE = 0.3  # nats: where two float32 computations of an activation lie on both sides of a half, they round to different numbers


def distance_from_int8(engine: Engine, model: Seq2SeqModel, sources: Sequence[list[int]], targets: Sequence[list[int]]) -> float:
    """Return the largest difference, in nats, of a log probability between `engine` and int8 arithmetic, in the nearer of two variants."""
    said = engine.score(sources, targets)
    distances = []
    for multiply in (_exact, _in_pairs_of_16_bits):
        with _quantized(multiply):
            expected = TorchEngine([model]).score(sources, targets)
        distances.append(max(abs(a - b) for rows in zip(said, expected, strict=True) for a, b in zip(*rows, strict=True)))
    return min(distances)


def _exact(x: Tensor, weight: Tensor) -> Tensor:
    return x @ weight.T


def _in_pairs_of_16_bits(x: Tensor, weight: Tensor) -> Tensor:
    products = (x + 128)[..., None, :] * weight  # (..., O, I)
    pairs = functional.pad(products, (0, products.shape[-1] % 2)).unflatten(-1, (-1, 2)).sum(-1)
    return pairs.clamp(-(1 << 15), (1 << 15) - 1).sum(-1) - 128 * weight.sum(-1)


def _rounded(x: Tensor) -> tuple[Tensor, Tensor]:
    scale = 127 / x.abs().amax(-1, keepdim=True).clamp_min(1e-30)
    return (x * scale).round(), scale


@contextmanager
def _quantized(multiply: Callable[[Tensor, Tensor], Tensor]) -> Iterator[None]:
    """Let torch's layers compute in int8."""
    linear, embedding = functional.linear, functional.embedding

    def int8_linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        (rows, row_scales), (columns, column_scales) = _rounded(x), _rounded(weight)
        product = multiply(rows, columns) / (row_scales * column_scales.squeeze(-1))
        return product if bias is None else product + bias

    def int8_embedding(ids: Tensor, weight: Tensor, *more: object, **options: object) -> Tensor:
        rows, scales = _rounded(weight)
        return embedding(ids, rows / scales, *more, **options)  # type: ignore[arg-type]

    functional.linear, functional.embedding = int8_linear, int8_embedding  # type: ignore[assignment]
    try:
        yield
    finally:
        functional.linear, functional.embedding = linear, embedding
