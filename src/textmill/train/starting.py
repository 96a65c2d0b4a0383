"""What a training starts from in place of random weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from textmill.encode.shards import EncodedCorpus
from textmill.model.initialization import load_initial_weights, start_embeddings
from textmill.model.interface import Seq2SeqModel
from textmill.model.settings import ModelSettings
from textmill.model.word2vec import word2vec_embeddings
from textmill.train.settings import TrainSettings


def start(network: Seq2SeqModel, corpus: EncodedCorpus, rows: np.ndarray, model: ModelSettings, train: TrainSettings, seed: int) -> None:
    """Put what the settings say in place of random weights: word2vec embeddings of the training pairs `rows`, an earlier model.

    Raises UserError as `load_initial_weights` does.
    """
    if model.embeddings == "word2vec":
        texts = (text(int(row)) for text in (corpus.source, corpus.target) for row in rows)
        start_embeddings(network, word2vec_embeddings(texts, corpus.vocabulary_size, model.width, seed))
    if train.init_from:
        print(load_initial_weights(network, Path(train.init_from), train.init_sha256), flush=True)
