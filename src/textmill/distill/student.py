"""Distill the teachers into a student: label the sources, then train."""

from __future__ import annotations

from collections.abc import Sequence

from textmill.base.errors import UserError
from textmill.distill.distillation import Teaching, distilled_corpus, student_settings
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
    """Copy the weights of `teacher` to `student`. If the student has fewer layers, copy evenly spaced ones, first and last included.

    Raises UserError if the shapes differ in anything but the number of layers, or if the number of layers of an LSTM differs.
    """
    weights = teacher.state_dict()
    own_shape, their_shape = student.shape, teacher.shape
    counts = {
        "encoder": (len(own_shape.encoder_feed_forward), len(their_shape.encoder_feed_forward)),
        "decoder": (len(own_shape.decoder_feed_forward), len(their_shape.decoder_feed_forward)),
    }
    if own_shape.architecture == "lstm" and any(own != theirs for own, theirs in counts.values()):
        raise UserError(
            "params.yaml: distill.start_from is teacher, but an LSTM student needs as many layers as its teacher."
            " Set distill.encoder_layers and decoder_layers to those of model, or start_from to scratch."
        )
    chosen = {}
    for name in student.state_dict():
        stack, _, rest = name.partition(".")
        layer, _, inner = rest.partition(".")
        if stack in counts and layer.isdigit():
            own, theirs = counts[stack]
            index = round(int(layer) * (theirs - 1) / max(own - 1, 1))
            chosen[name] = weights[f"{stack}.{index}.{inner}"]
        else:
            chosen[name] = weights[name]
    try:
        student.load_state_dict(chosen)
    except RuntimeError:
        raise UserError(
            "params.yaml: distill.start_from is teacher, but distill.feed_forward differs from model.feed_forward."
            " Make them equal, or set start_from to scratch."
        ) from None


def distill_student(
    corpus: EncodedCorpus,
    teachers: Sequence[Seq2SeqModel],
    tokenizer: Tokenizer,
    model: ModelSettings,
    teaching: Teaching,
    run: Run,
) -> tuple[Seq2SeqModel, EncodedCorpus, dict[str, float | int], TrainingResult]:
    """Label the sources and train the student. Returns the student, its training pairs, their counts, and the training result.

    Raises UserError as `distilled_corpus`, `copy_teacher` and `fit` do.
    """
    distill, run = teaching.distill, run.on(teaching.distill.train)
    pairs, counts = distilled_corpus(corpus, teachers, tokenizer, teaching, run)
    data, of_student = TrainingData.all_of(pairs), student_settings(model, distill)
    if distill.start_from == "teacher":
        student = build_model(Shape.of(of_student, corpus.vocabulary_size))
        copy_teacher(student, teachers[0])
    else:
        student = new_model(of_student, data, distill.train, run.seed)
    return student, pairs, counts, fit(student, data, distill.train, run)
