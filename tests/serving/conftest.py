from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from toy import DECODE, MODEL

from textmill.encode.encoded_corpus import EncodedCorpus
from textmill.export.package import export_model
from textmill.export.settings import ExportSettings
from textmill.model.factory import build_model
from textmill.model.shape import Shape
from textmill.model.weights import save_model
from textmill.tokenizer.tokenizer import Tokenizer


@pytest.fixture(scope="session")
def model_folder(corpus: EncodedCorpus, tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An exported int8 model with random weights, whose outputs differ between sources."""
    folder = tmp_path_factory.mktemp("serving")
    torch.manual_seed(0)
    network = build_model(Shape.of(MODEL, len(tokenizer.pieces)))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
        network.tokens.output_bias[3] += 3.0
    save_model(folder / "model.safetensors", network.eval())
    one_task = replace(corpus, tasks=["ui"])
    export_model(folder / "model.safetensors", one_task, tokenizer, folder / "export", ExportSettings("toy", 10, 1e-3, 0.5, 1.0), DECODE)
    return folder / "export/int8"
