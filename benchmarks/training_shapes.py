"""The model shapes for measuring training, and the batches that every system trains on.

The pairs are generated. Lengths are log-normal: real sentences have a similarly skewed distribution (Sigurd et al. 2004, "Word length,
sentence length and frequency"). Target lengths are correlated with source lengths. Tokens follow Zipf's law, so a falling loss shows
that a system learns.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from textmill.base.tensors import read_tensors, write_tensors
from textmill.encode.batching import Batch, make_batch, token_budget_batches
from textmill.encode.encoded_corpus import EncodedCorpus, encoded_corpus
from textmill.model.settings import ModelSettings
from textmill.tokenizer.special import END
from textmill.train.settings import TrainSettings

SEED = 1
STEPS_BEHIND = 2  # after the measured steps, ours validates, and takes one more step whose loss is reported
_MEDIAN_LENGTH, _SPREAD, _LONGEST = 15, 0.55, 120
_CORPUS, _BATCHES = "corpus.safetensors", "batches.safetensors"


@dataclass(frozen=True)
class TrainingShape:
    """A model and its batches.

    batch_tokens: as in TrainSettings.
    steps, quick_steps: approximate number of steps per epoch.
    """

    model: ModelSettings
    vocabulary_size: int
    batch_tokens: int
    steps: int
    quick_steps: int


def _model(width: int, heads: int, layers: int) -> ModelSettings:
    return ModelSettings(
        architecture="encoder_decoder",
        width=width,
        heads=heads,
        key_value_heads=0,
        feed_forward=4 * width,
        encoder_layers=layers,
        decoder_layers=layers,
        norm="layer_norm",
        norm_position="pre",
        positions="sinusoidal",
        max_positions=0,
        activation="relu",
        tied_embeddings=True,
        embeddings="random",
        dropout=0.1,
        attention_dropout=0.0,
    )


SHAPES = {
    # Transformer-big (Vaswani et al. 2017, table 3), for a GPU
    "large": TrainingShape(_model(1024, 16, 6), 32000, 32768, steps=30, quick_steps=10),
    # Transformer-base (the same table), 60 million parameters
    "base": TrainingShape(_model(512, 8, 6), 32000, 16384, steps=30, quick_steps=10),
    "big": TrainingShape(_model(256, 8, 3), 8000, 4096, steps=12, quick_steps=4),
    "small": TrainingShape(_model(160, 4, 2), 3000, 600, steps=100, quick_steps=30),  # as in params.yaml
    "tiny": TrainingShape(_model(16, 2, 1), 100, 200, steps=1, quick_steps=1),  # to test that everything runs
}


def write_batches(shape: TrainingShape, steps: int, folder: Path) -> None:
    """Write a corpus of about `steps` batches, and the batches of its first epochs, into `folder`.

    There are two complete epochs, and STEPS_BEHIND batches of the third. The first epoch is the warm-up: after it, oneDNN has compiled
    its kernels for all shapes of the second epoch, as in a real training.
    """
    corpus = _corpus(shape, steps)
    epochs = [
        token_budget_batches(*corpus.lengths(), np.arange(len(corpus)), shape.batch_tokens, SEED, epoch)
        for epoch in range(2 + STEPS_BEHIND)
    ]
    tensors: dict[str, Tensor] = {}
    for number, rows in enumerate(list(chain(*epochs))[: 2 * len(epochs[0]) + STEPS_BEHIND]):
        tensors[f"{number}.rows"] = torch.from_numpy(rows)
        tensors |= {f"{number}.{name}": tensor for name, tensor in make_batch(corpus, rows)._asdict().items()}
    corpus.save(folder / _CORPUS)
    write_tensors(folder / _BATCHES, tensors, {"epoch": len(epochs[0])})


def read_corpus(folder: Path) -> EncodedCorpus:
    """Read the corpus of the batches."""
    return EncodedCorpus.load(folder / _CORPUS)


def read_batches(folder: Path) -> tuple[list[Batch], list[np.ndarray], int]:
    """Read the batches. Returns the batches, their rows in the corpus, and the number of batches per epoch."""
    tensors, metadata = read_tensors(folder / _BATCHES)
    numbers = range(2 * metadata["epoch"] + STEPS_BEHIND)
    batches = [Batch(*(tensors[f"{number}.{name}"] for name in Batch._fields)) for number in numbers]
    return batches, [tensors[f"{number}.rows"].numpy() for number in numbers], metadata["epoch"]


def _corpus(shape: TrainingShape, steps: int) -> EncodedCorpus:
    generator = np.random.default_rng(SEED)
    pairs = max(steps * shape.batch_tokens // 20, 1)  # a pair takes about 20 tokens of the budget
    common, own = generator.normal(size=(2, pairs))
    sources = np.exp(np.log(_MEDIAN_LENGTH) + _SPREAD * common)
    targets = sources * np.exp(0.2 * own)
    ranks = shape.vocabulary_size - END - 1
    weights = 1 / np.arange(1, ranks + 1)

    def texts(lengths: np.ndarray) -> list[list[int]]:
        whole = lengths.round().astype(int).clip(1, _LONGEST)
        tokens = generator.choice(ranks, size=int(whole.sum()), p=weights / weights.sum()) + END + 1
        return [part.tolist() for part in np.split(tokens, np.cumsum(whole)[:-1])]

    return encoded_corpus(texts(sources), texts(targets), np.zeros((pairs, 1)), shape.vocabulary_size)


def toy_corpus() -> EncodedCorpus:
    """Generate pairs of a toy language with 60 words, each with one translation. A fifth of the pairs is in fold 0."""
    generator = np.random.default_rng(SEED)
    sources = [generator.integers(END + 1, END + 61, size=length).tolist() for length in generator.integers(2, 25, size=600)]
    targets = [[END + 61 + (word - END - 1) * 7 % 60 for word in source] for source in sources]
    return encoded_corpus(sources, targets, (np.arange(len(sources)) % 5)[:, None], END + 121)


def toy_model() -> ModelSettings:
    """Return a model that learns `toy_corpus` in a few dozen steps."""
    return replace(_model(64, 4, 2), positions="rotary")


def toy_training(steps: int) -> TrainSettings:
    """Return training settings for `toy_model` and `toy_corpus`, with four validations."""
    return TrainSettings(
        batch_tokens=600,
        max_steps=steps,
        validate_every=max(steps // 4, 1),
        patience=0,
        optimizer="adam",
        learning_rate=5e-3,
        weight_decay=0.0,
        schedule="cosine",
        warmup_steps=steps // 5,
        step_size=1,
        gamma=1.0,
        label_smoothing=0.1,
        gradient_clip=1.0,
        average_checkpoints=1,
        precision="float32",
        device="auto",
        num_threads=1,
    )
