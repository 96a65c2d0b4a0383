"""A quick score of decoded outputs during training."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from sacrebleu.metrics import CHRF

from textmill.encode.batching import padded
from textmill.encode.encoded_corpus import EncodedCorpus
from textmill.model.greedy import greedy
from textmill.model.interface import Seq2SeqModel
from textmill.tokenizer.tokenizer import Tokenizer

_BATCH_SIZE = 128


def greedy_chrf(corpus: EncodedCorpus, tokenizer: Tokenizer) -> Callable[[Seq2SeqModel, np.ndarray], float]:
    """Return a function that computes the corpus chrF (Popović 2015) of a model's greedy outputs for rows of `corpus`.

    Outputs and references are compared with slots in place of protected spans.
    The function puts the model into evaluation mode.
    """
    longest = max(1, int(corpus.lengths()[1].max()))

    def score(model: Seq2SeqModel, rows: np.ndarray) -> float:
        model.eval()
        device = model.output_projection()[0].device
        order = sorted(rows.tolist(), key=lambda row: -len(corpus.source(row)))
        outputs, references = [], []
        for start in range(0, len(order), _BATCH_SIZE):
            part = order[start : start + _BATCH_SIZE]
            found = greedy(model, padded([corpus.source(row) for row in part]).to(device), longest)
            outputs += [tokenizer.decode(tokens) for tokens in found]
            references += [tokenizer.decode(corpus.target(row)) for row in part]
        return float(CHRF().corpus_score(outputs, [references]).score)

    return score
