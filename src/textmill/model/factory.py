"""Build a model by the name of its architecture."""

from __future__ import annotations

from collections.abc import Callable

from textmill.model.decoder_only import DecoderOnly
from textmill.model.encoder_decoder import EncoderDecoder
from textmill.model.interface import Seq2SeqModel
from textmill.model.lstm import Lstm
from textmill.model.shape import Shape

ARCHITECTURES: dict[str, Callable[[Shape], Seq2SeqModel]] = {
    "encoder_decoder": EncoderDecoder,
    "decoder_only": DecoderOnly,
    "lstm": Lstm,
}


def build_model(shape: Shape) -> Seq2SeqModel:
    """Build a model with random weights, drawn from torch's global generator."""
    return ARCHITECTURES[shape.architecture](shape)
