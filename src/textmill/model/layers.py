"""Transformer building blocks other than attention. Dimensions: B batch, T length, D model width, F feed-forward width."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional as F

from textmill.model.attention import Attention
from textmill.model.dropout import Dropout
from textmill.model.shape import Shape

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"relu": F.relu, "gelu": F.gelu, "swiglu": F.silu}
# Both compute in float32 and return the dtype of their input.
NORMS: dict[str, Callable[..., nn.Module]] = {"layer_norm": nn.LayerNorm, "rms_norm": nn.RMSNorm}
NORM_EPSILON = 1e-5


def make_norm(shape: Shape) -> nn.Module:
    """Build a layer norm (Ba et al. 2016) or an RMS norm (Zhang & Sennrich 2019)."""
    return NORMS[shape.norm](shape.width, eps=NORM_EPSILON)


def make_final_norm(shape: Shape) -> nn.Module:
    """Build the module after the last layer: a norm for pre-norm models, the identity for post-norm models."""
    return make_norm(shape) if shape.norm_position == "pre" else nn.Identity()


def encoder_attention(shape: Shape) -> Attention:
    """Build the self-attention of an encoder layer."""
    heads = shape.encoder_heads, shape.encoder_key_value_heads
    return Attention(shape.width, *heads, shape.head_width, shape.attention_dropout, shape.positions == "rotary")


def decoder_attention(shape: Shape, is_cross: bool) -> Attention:
    """Build the self-attention or cross-attention (`is_cross`) of a decoder layer. Cross-attention never uses rotary positions."""
    heads = shape.decoder_heads, shape.decoder_key_value_heads
    return Attention(shape.width, *heads, shape.head_width, shape.attention_dropout, shape.positions == "rotary" and not is_cross)


class FeedForward(nn.Module):
    """Position-wise feed-forward network (Vaswani et al. 2017, section 3.3), with a gate for SwiGLU (Shazeer 2020)."""

    def __init__(self, shape: Shape, inner: int) -> None:
        super().__init__()
        self.gate = nn.Linear(shape.width, inner) if shape.activation == "swiglu" else None
        self.up = nn.Linear(shape.width, inner)
        self.down = nn.Linear(inner, shape.width)
        self.activation = ACTIVATIONS[shape.activation]
        self.dropout = Dropout(shape.dropout)
        for linear in (self.gate, self.up, self.down):
            if linear is not None:
                nn.init.xavier_uniform_(linear.weight)
                nn.init.zeros_(linear.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, T, D) to (B, T, D)."""
        inner = self.activation(self.up(x)) if self.gate is None else self.activation(self.gate(x)) * self.up(x)  # (B, T, F)
        out: Tensor = self.down(self.dropout(inner))
        return out


class AddNorm(nn.Module):
    """Residual connection and normalization around a sublayer.

    post: norm(x + sublayer(x)) (Vaswani et al. 2017, section 3.1).
    pre: x + sublayer(norm(x)) (Xiong et al. 2020); trains without a long warm-up.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.norm = make_norm(shape)
        self.is_pre = shape.norm_position == "pre"
        self.dropout = Dropout(shape.dropout)

    def forward(self, x: Tensor, sublayer: Callable[[Tensor], Tensor]) -> Tensor:
        """Map (B, T, D) to (B, T, D)."""
        if self.is_pre:
            y: Tensor = self.dropout(sublayer(self.norm(x)))
            return x + y
        out: Tensor = self.norm(x + self.dropout(sublayer(x)))
        return out
