from __future__ import annotations

import signal

import numpy as np
import pytest
import torch
from toy import MODEL, PAIRS, TOKENIZER

from textmill.encode.shards import EncodedCorpus, encoded_corpus
from textmill.model.factory import build_model
from textmill.model.interface import Seq2SeqModel
from textmill.model.shape import Shape
from textmill.tokenizer.tokenizer import Tokenizer, fit_tokenizer

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a shell starts what runs in the background so; the tests of Ctrl-C need it
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    return fit_tokenizer(*zip(*PAIRS, strict=True), TOKENIZER)


@pytest.fixture(scope="session")
def corpus(tokenizer: Tokenizer) -> EncodedCorpus:
    sources, targets = tokenizer.encode_pairs(*zip(*PAIRS, strict=True))
    return encoded_corpus(sources, targets, np.arange(len(PAIRS))[:, None] % 3, len(tokenizer.pieces))


@pytest.fixture
def model(tokenizer: Tokenizer) -> Seq2SeqModel:
    """A model with random weights large enough that its outputs are not all alike."""
    torch.manual_seed(0)
    network = build_model(Shape.of(MODEL, len(tokenizer.pieces)))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
        network.tokens.output_bias[3] += 3.0
    return network.eval()
