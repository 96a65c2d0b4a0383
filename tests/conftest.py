from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from toy import DECODE, MODEL, PAIRS, TOKENIZER

from textmill.encode.encoded_corpus import EncodedCorpus, encoded_corpus
from textmill.export.package import export_model
from textmill.export.settings import ExportSettings
from textmill.model.factory import build_model
from textmill.model.interface import Seq2SeqModel
from textmill.model.shape import Shape
from textmill.model.weights import save_model
from textmill.tokenizer.tokenizer import Tokenizer, fit_tokenizer

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a shell starts what runs in the background so; the tests of Ctrl-C need it
    signal.signal(signal.SIGINT, signal.default_int_handler)

_READ_BY_US = ("MLFLOW_", "TEXTMILL_", "DVC_", "MAKE")
# The tests of a developer who has a server, a remote or a rebuild in the environment must not reach it.
for name in [name for name in os.environ if name.startswith(_READ_BY_US)]:
    del os.environ[name]
os.environ["DVC_NO_ANALYTICS"] = "1"


_LONGEST = ("test_pipeline.py", "test_second_clone.py", "test_folds.py", "test_tuning.py", "test_gpu.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first, so that workers end at the same time. The first two make a rebuild each, side by side."""
    items.sort(key=lambda item: _LONGEST.index(item.path.name) if item.path.name in _LONGEST else len(_LONGEST))


@pytest.fixture(scope="module", autouse=True)
def unchanged_environment() -> Iterator[None]:
    """A test file leaves our variables as they were: what one sets, another file of the same process would meet by chance."""
    before = dict(os.environ)
    yield
    ours = [name for name in before.keys() | os.environ.keys() if name.startswith(_READ_BY_US)]
    changed = [name for name in ours if before.get(name) != os.environ.get(name)]
    for name in changed:
        if name in before:
            os.environ[name] = before[name]
        else:
            del os.environ[name]
    assert not changed


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    return fit_tokenizer(*zip(*PAIRS, strict=True), TOKENIZER)


@pytest.fixture(scope="session")
def corpus(tokenizer: Tokenizer) -> EncodedCorpus:
    sources, targets = tokenizer.encode_pairs(*zip(*PAIRS, strict=True))
    return encoded_corpus(sources, targets, np.arange(len(PAIRS))[:, None] % 3, len(tokenizer.pieces))


def random_model(tokenizer: Tokenizer) -> Seq2SeqModel:
    """A model with random weights large enough that its outputs are not all alike."""
    torch.manual_seed(0)
    network = build_model(Shape.of(MODEL, len(tokenizer.pieces)))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
        network.tokens.output_bias[3] += 3.0
    return network.eval()


@pytest.fixture
def model(tokenizer: Tokenizer) -> Seq2SeqModel:
    return random_model(tokenizer)


@pytest.fixture(scope="session")
def model_folder(corpus: EncodedCorpus, tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An exported int8 model with random weights, whose outputs differ between sources."""
    folder = tmp_path_factory.mktemp("serving")
    save_model(folder / "model.safetensors", random_model(tokenizer))
    one_task = replace(corpus, tasks=["ui"])
    export_model(folder / "model.safetensors", one_task, tokenizer, folder / "export", ExportSettings("toy", 10, 1e-3, 0.5, 1.0), DECODE)
    return folder / "export/int8"
