"""The model shapes that training is measured on, and batches for them that every system reads.

The pairs are made up: lengths log-normal, as those of real sentences (Sigurd et al. 2004, "Word length, sentence length and
frequency", find a similarly skewed law), target lengths correlated with source lengths, tokens by Zipf's law, so that a loss
that falls shows that a system learns.
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
STEPS_BEHIND = 2  # ours validates behind the measured steps, then takes one step whose loss stands alone
_MEDIAN_LENGTH, _SPREAD, _LONGEST = 15, 0.55, 120
_CORPUS, _BATCHES = "corpus.safetensors", "batches.safetensors"


@dataclass(frozen=True)
class TrainingShape:
    """A model and its batches. batch_tokens: as in TrainSettings. steps, quick_steps: of an epoch, about."""

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
    "small": TrainingShape(_model(160, 4, 2), 3000, 600, steps=100, quick_steps=30),  # params.yaml's model and train
    "tiny": TrainingShape(_model(16, 2, 1), 100, 200, steps=1, quick_steps=1),  # to see that everything runs
}


def write_batches(shape: TrainingShape, steps: int, folder: Path) -> None:
    """Write a corpus of about `steps` batches into `folder`, and the batches that training makes of it in its first epochs.

    Two whole epochs, the first to warm up: then every system has seen the shapes of the second, as in a real training, where oneDNN
    has compiled its kernels by then. STEPS_BEHIND batches of the third follow.
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
    """The corpus that the batches are of."""
    return EncodedCorpus.load(folder / _CORPUS)


def read_batches(folder: Path) -> tuple[list[Batch], list[np.ndarray], int]:
    """The batches, which rows of the corpus each of them holds, and how many make an epoch."""
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
    """A language of 60 words, each with one translation; a fifth of the pairs is in fold 0."""
    generator = np.random.default_rng(SEED)
    sources = [generator.integers(END + 1, END + 61, size=length).tolist() for length in generator.integers(2, 25, size=600)]
    targets = [[END + 61 + (word - END - 1) * 7 % 60 for word in source] for source in sources]
    return encoded_corpus(sources, targets, (np.arange(len(sources)) % 5)[:, None], END + 121)


def toy_model() -> ModelSettings:
    """Learns `toy_corpus` in some dozen steps."""
    return replace(_model(64, 4, 2), positions="rotary")


def toy_training(steps: int) -> TrainSettings:
    """For `toy_model` and `toy_corpus`, validated four times."""
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
