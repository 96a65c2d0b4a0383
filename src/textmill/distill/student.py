"""Distillation as a whole: the teachers write, the student learns."""

from __future__ import annotations

from collections.abc import Sequence

from textmill.base.errors import UserError
from textmill.decode.settings import DecodeSettings
from textmill.distill.distillation import distilled_corpus, student_settings
from textmill.distill.settings import DistillSettings
from textmill.encode.encoded_corpus import EncodedCorpus
from textmill.model.factory import build_model
from textmill.model.interface import Seq2SeqModel
from textmill.model.settings import ModelSettings
from textmill.model.shape import Shape
from textmill.tokenizer.tokenizer import Tokenizer
from textmill.train.loop import fit
from textmill.train.run import Run, TrainingData, TrainingResult
from textmill.train.starting import new_model


def copy_teacher(student: Seq2SeqModel, teacher: Seq2SeqModel) -> None:
    """Start `student` from the weights of `teacher`; with fewer layers, from evenly spaced ones, first and last included.

    Raises UserError if the two differ in anything but the number of layers, or if that differs in an LSTM.
    """
    weights = teacher.state_dict()
    own_shape, their_shape = student.shape, teacher.shape
    counts = {
        "encoder": (len(own_shape.encoder_feed_forward), len(their_shape.encoder_feed_forward)),
        "decoder": (len(own_shape.decoder_feed_forward), len(their_shape.decoder_feed_forward)),
    }
    if own_shape.architecture == "lstm" and any(own != theirs for own, theirs in counts.values()):
        raise UserError(
            "params.yaml: distill.start_from is teacher, but an LSTM's layers cannot be chosen from."
            " Make distill.encoder_layers and decoder_layers those of model, or start from scratch."
        )
    chosen = {}
    for name in student.state_dict():
        stack, _, rest = name.partition(".")
        layer, _, inner = rest.partition(".")
        if stack in counts and layer.isdigit():
            own, theirs = counts[stack]
            place = round(int(layer) * (theirs - 1) / max(own - 1, 1))
            chosen[name] = weights[f"{stack}.{place}.{inner}"]
        else:
            chosen[name] = weights[name]
    try:
        student.load_state_dict(chosen)
    except RuntimeError:
        raise UserError(
            "params.yaml: distill.start_from is teacher, but distill.feed_forward is not model.feed_forward."
            " Make them equal, or start from scratch."
        ) from None


def distill_student(
    corpus: EncodedCorpus,
    teachers: Sequence[Seq2SeqModel],
    tokenizer: Tokenizer,
    model: ModelSettings,
    distill: DistillSettings,
    decode: DecodeSettings,
    run: Run,
) -> tuple[Seq2SeqModel, EncodedCorpus, dict[str, float | int], TrainingResult]:
    """Returns the student, the pairs it learned (with counts), and how its training ended. See `distilled_corpus`."""
    run = run.on(distill.train)
    pairs, counts = distilled_corpus(corpus, teachers, tokenizer, distill, decode, run.seed, run.device)
    data, of_student = TrainingData.all_of(pairs), student_settings(model, distill)
    if distill.start_from == "teacher":
        student = build_model(Shape.of(of_student, corpus.vocabulary_size))
        copy_teacher(student, teachers[0])
    else:
        student = new_model(of_student, data, distill.train, run.seed)
    return student, pairs, counts, fit(student, data, distill.train, run)
