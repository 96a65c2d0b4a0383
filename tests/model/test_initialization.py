from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from toy import MODEL

from textmill.base.errors import UserError
from textmill.base.files import sha256_of
from textmill.model.factory import build_model
from textmill.model.initialization import load_initial_weights, start_embeddings
from textmill.model.shape import Shape
from textmill.model.weights import save_model
from textmill.model.word2vec import word2vec_embeddings
from textmill.tokenizer.special import PAD

SENTENCES = [[4 + i % 3, 8 + i % 3, 12, 13 + i % 2] for i in range(60)]


def test_matching_tensors_are_copied_and_counted_and_a_model_without_any_is_refused(tmp_path: Path) -> None:
    torch.manual_seed(0)
    earlier = build_model(Shape.of(MODEL, 30))
    save_model(tmp_path / "model.safetensors", earlier)
    deeper = build_model(Shape.of(replace(MODEL, encoder_layers=2), 30))
    taken, total = len(list(earlier.parameters())), len(list(deeper.parameters()))
    for path in (tmp_path, tmp_path / "model.safetensors"):
        assert f"copied {taken} of {total} tensors" in load_initial_weights(deeper, path, sha256_of(tmp_path / "model.safetensors"))
    own = deeper.state_dict()
    assert all(torch.equal(own[name], tensor) for name, tensor in earlier.state_dict().items())
    with pytest.raises(UserError, match="the vocabulary has 30 pieces, but this model needs 31"):
        load_initial_weights(build_model(Shape.of(MODEL, 31)), tmp_path, sha256_of(tmp_path / "model.safetensors"))
    narrow = build_model(Shape.of(replace(MODEL, architecture="lstm", width=8), 30))
    del narrow.tokens.output_bias
    with pytest.raises(UserError, match="no tensor matches this model in name and shape"):
        load_initial_weights(narrow, tmp_path, sha256_of(tmp_path / "model.safetensors"))


def test_vectors_know_neighbours_have_the_usual_spread_and_start_the_embeddings() -> None:
    vectors = word2vec_embeddings(SENTENCES, 40, 16, 3)
    seen = sorted({token for sentence in SENTENCES for token in sentence})
    assert float(vectors[seen].std()) == pytest.approx(0.25, rel=1e-3)
    assert not vectors[PAD].any()
    assert torch.equal(vectors[30:], word2vec_embeddings([], 40, 16, 3)[30:]) and float(vectors[30:].std()) == pytest.approx(0.25, rel=0.2)
    network = build_model(Shape.of(replace(MODEL, tied_embeddings=False), 40))
    start_embeddings(network, vectors)
    assert torch.equal(network.tokens.source.weight, vectors) and torch.equal(network.tokens.target.weight, vectors)


def test_vectors_are_the_same_bits_in_every_process() -> None:
    program = (
        "import hashlib; from textmill.model.word2vec import word2vec_embeddings as w\n"
        "s = [[4 + i % 3, 8 + i % 3, 12, 13 + i % 2] for i in range(60)]\n"
        "print(hashlib.sha256(w(s, 40, 16, 3).numpy().tobytes()).hexdigest())"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", program], env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        ).stdout
        for seed in ("0", "7")
    }
    assert len(found) == 1
