"""Greedy decoding: the most probable token at every step. Training uses it for a quick validation score."""

from __future__ import annotations

import torch
from torch import Tensor

from textmill.model.interface import Seq2SeqModel
from textmill.tokenizer.special import BEGIN, END


@torch.inference_mode()
def greedy(model: Seq2SeqModel, source: Tensor, max_tokens: int) -> list[list[int]]:
    """Decode a batch greedily. source: (B, S), padded with PAD. Returns B outputs of at most `max_tokens` tokens, without END."""
    state = model.encode(source)
    tokens = torch.full((len(source),), BEGIN, dtype=torch.int64, device=source.device)
    chosen: list[Tensor] = []
    has_ended = torch.zeros(len(source), dtype=torch.bool, device=source.device)
    while len(chosen) < max_tokens and not bool(has_ended.all()):
        tokens = model.decode_step(tokens, state).argmax(dim=-1)
        has_ended |= tokens == END
        chosen.append(tokens)
    outputs = torch.stack(chosen, dim=1).tolist() if chosen else [[] for _ in source]
    return [output[: output.index(END)] if END in output else output for output in outputs]
