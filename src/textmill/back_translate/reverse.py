"""The reverse model, which translates from target to source."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd

from textmill.back_translate.settings import BackTranslateSettings
from textmill.decode.search import Hypothesis
from textmill.decode.settings import DecodeSettings
from textmill.decode.torch_engine import TorchEngine
from textmill.encode.encode import encode_corpus
from textmill.encode.settings import EncodeSettings
from textmill.model.interface import Seq2SeqModel
from textmill.model.settings import ModelSettings
from textmill.tokenizer.protection import Protected, keeps_slots, restore
from textmill.tokenizer.tasks import with_tasks
from textmill.tokenizer.tokenizer import Tokenizer
from textmill.train.loop import fit
from textmill.train.run import Run, TrainingData, TrainingResult
from textmill.train.starting import new_model


class ReverseShape(NamedTuple):
    """Encoding, architecture and decoding of the reverse model, the same as for the fold models."""

    encode: EncodeSettings
    model: ModelSettings
    decode: DecodeSettings


class Written(NamedTuple):
    """A synthetic source, or an empty text and the reason: too_long, unfinished or lost_slots."""

    source: str
    reason: str


def train_reverse(
    development: pd.DataFrame, tokenizer: Tokenizer, back_translate: BackTranslateSettings, shape: ReverseShape, run: Run
) -> tuple[Seq2SeqModel, TrainingResult]:
    """Train on swapped development pairs of the tasks in back_translate.sources. The task name is put in front of the target.

    There is no validation set, and the model trains on all folds. So a fold model can learn about its held-out pairs only
    through synthetic sources.
    """
    pairs = development[development["task"].isin({source.task for source in back_translate.sources})]
    swapped = pairs.assign(source=pairs["target"], target=pairs["source"])
    data = TrainingData.all_of(encode_corpus(swapped, tokenizer, shape.encode)[0])
    network = new_model(shape.model, data, back_translate.train, run.seed)
    return network, fit(network, data, back_translate.train, run)


def write_sources(
    targets: Sequence[str],
    tasks: Sequence[str],
    tokenizer: Tokenizer,
    engine: TorchEngine,
    encode: EncodeSettings,
    decode: DecodeSettings,
) -> list[Written]:
    """Write a source for every target: the best output that is finished and has the same slots.

    A target with more tokens than encode.max_tokens or decode.max_tokens is not translated, because it would be cut.
    """
    limit = min(encode.max_tokens, decode.max_tokens)
    protected = [tokenizer.protect(text) for text in with_tasks(targets, tasks)]
    asked = tokenizer.encode_batch([each.text for each in protected])
    fitting = [row for row, tokens in enumerate(asked) if len(tokens) <= limit]
    beams = engine.generate([asked[row] for row in fitting], decode, decode.beam_size)
    written = [Written("", "too_long")] * len(asked)
    for row, beam in zip(fitting, beams, strict=True):
        written[row] = _chosen(protected[row], beam, tokenizer, decode)
    return written


def _chosen(target: Protected, beam: Sequence[Hypothesis], tokenizer: Tokenizer, decode: DecodeSettings) -> Written:
    outputs = [tokenizer.decode(hypothesis.tokens) for hypothesis in beam if hypothesis.is_finished(decode)]
    kept = [output for output in outputs if keeps_slots(target.text, output)]
    if not kept:
        return Written("", "lost_slots" if outputs else "unfinished")
    return Written(restore(kept[0], target), "")
