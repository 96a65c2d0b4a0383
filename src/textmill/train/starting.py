"""Build the model of a training and initialize its weights."""

from __future__ import annotations

from pathlib import Path

from textmill.model.factory import build_model
from textmill.model.initialization import load_initial_weights, start_embeddings
from textmill.model.interface import Seq2SeqModel
from textmill.model.settings import ModelSettings
from textmill.model.shape import Shape
from textmill.model.word2vec import word2vec_embeddings
from textmill.train.run import TrainingData
from textmill.train.settings import TrainSettings


def new_model(model: ModelSettings, data: TrainingData, train: TrainSettings, seed: int) -> Seq2SeqModel:
    """Build a model with random weights, then apply the settings: word2vec embeddings of the training pairs, or an earlier model.

    Raises UserError as `load_initial_weights` does.
    """
    corpus = data.corpus
    network = build_model(Shape.of(model, corpus.vocabulary_size))
    if model.embeddings == "word2vec":
        texts = (text(int(row)) for text in (corpus.source, corpus.target) for row in data.training_rows)
        start_embeddings(network, word2vec_embeddings(texts, corpus.vocabulary_size, model.width, seed))
    if train.init_from:
        print(load_initial_weights(network, Path(train.init_from), train.init_sha256), flush=True)
    return network
