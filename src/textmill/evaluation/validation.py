"""A quick score of outputs while a model is trained."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from sacrebleu.metrics import CHRF

from textmill.decoding.torch_engine import TorchEngine
from textmill.model.interface import Seq2SeqModel
from textmill.settings.inference import DecodeSettings
from textmill.tokens.shards import EncodedCorpus
from textmill.tokens.tokenizer import Tokenizer

_BATCH_SIZE = 128


def greedy_chrf(corpus: EncodedCorpus, tokenizer: Tokenizer) -> Callable[[Seq2SeqModel, np.ndarray], float]:
    """A function of a model and rows of `corpus` that gives the corpus chrF (Popović 2015) of greedy outputs, spans in their slots."""
    longest = max(1, *(int(lengths.max()) for lengths in corpus.lengths()))  # sources too, which decoding cuts at the same length
    decode = DecodeSettings(beam_size=1, length_penalty=1.0, max_tokens=longest, batch_size=_BATCH_SIZE)

    def score(model: Seq2SeqModel, rows: np.ndarray) -> float:
        device = model.output_projection()[0].device
        found = TorchEngine([model], device).translate([corpus.source(int(row)) for row in rows], decode)
        outputs = [tokenizer.decode(hypotheses[0].tokens) for hypotheses in found]
        return float(CHRF().corpus_score(outputs, [[tokenizer.decode(corpus.target(int(row))) for row in rows]]).score)

    return score
