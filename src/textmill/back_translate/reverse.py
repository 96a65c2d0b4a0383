"""The reverse model: trained from target to source, it writes a source for a text that has none."""

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
    """How the reverse model is built and asked: the settings of the models that learn from it."""

    encode: EncodeSettings
    model: ModelSettings
    decode: DecodeSettings


class Written(NamedTuple):
    """A source that the reverse model wrote, empty with the reason why there is none: too_long, unfinished or lost_slots."""

    source: str
    reason: str


def train_reverse(
    development: pd.DataFrame, tokenizer: Tokenizer, back_translate: BackTranslateSettings, shape: ReverseShape, run: Run
) -> tuple[Seq2SeqModel, TrainingResult]:
    """Train on the development pairs of the tasks that text was given for, swapped: the task stands in front of the target.

    A validation set is not kept back: what this model knows of a fold reaches the fold's model in synthetic sources alone.
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
    """The best output for every target, of its task, that has come to its end and keeps the slots.

    A target with more tokens than are encoded or decoded is not translated: only its beginning would be.
    """
    limit = min(encode.max_tokens, decode.max_tokens)
    protected = [tokenizer.protect(text) for text in with_tasks(targets, tasks)]
    asked = tokenizer.encode_batch([each.text for each in protected])
    fitting = [row for row, tokens in enumerate(asked) if len(tokens) <= limit]
    beams = engine.translate([asked[row] for row in fitting], decode, decode.beam_size)
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
