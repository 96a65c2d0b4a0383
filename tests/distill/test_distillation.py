from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from toy import DECODE, MODEL, TRAIN

from textmill.base.errors import UserError
from textmill.decode.search import Hypothesis
from textmill.distill.distillation import Teaching, distilled_corpus
from textmill.distill.settings import DistillSettings
from textmill.distill.student import copy_teacher, distill_student
from textmill.encode.encoded_corpus import EncodedCorpus, encoded_corpus
from textmill.model.factory import build_model
from textmill.model.interface import Seq2SeqModel
from textmill.model.shape import Shape
from textmill.tokenizer.protection import SLOTS
from textmill.tokenizer.special import BEGIN, END
from textmill.tokenizer.tokenizer import Tokenizer
from textmill.train.checkpoints import CheckpointFile
from textmill.train.run import Run

RUN = Run("student", 1)
PLAIN = (0, 1, 4, 5, 6)  # rows of the toy corpus without a placeholder
WORD = 300  # the first of some ordinary pieces: neither special, nor a slot, nor a byte
DISTILL = DistillSettings(
    labelled_by="out_of_fold",
    beam_size=3,
    num_hypotheses=2,
    min_chrf=0.0,
    start_from="scratch",
    original_share=1.0,
    encoder_layers=1,
    decoder_layers=1,
    feed_forward=32,
    train=TRAIN,
)


@pytest.mark.parametrize("labelled_by", ["out_of_fold", "ensemble"])
def test_an_example_is_labelled_by_the_model_that_did_not_train_on_it(
    corpus: EncodedCorpus, tokenizer: Tokenizer, labelled_by: str
) -> None:
    teachers = [writer(corpus, {WORD + fold}) for fold in range(3)]
    settings = DistillSettings(**{**DISTILL.__dict__, "labelled_by": labelled_by, "num_hypotheses": 1})
    pairs, counts = distilled_corpus(corpus, teachers, tokenizer, Teaching(settings, DECODE), RUN)
    plain = [row for row in range(len(corpus)) if not _has_slot(corpus.source(row), tokenizer)]  # these teachers write no slots
    assert counts["originals"] == len(corpus) and counts["distilled"] == len(plain)
    labelled = range(len(corpus), len(pairs))
    written = [(int(pairs.folds[row, 0]), set(pairs.target(row))) for row in labelled]
    if labelled_by == "out_of_fold":
        assert all(tokens == {WORD + fold} for fold, tokens in written)
    else:
        assert len({frozenset(tokens) for _, tokens in written}) < 3 or any(tokens != {WORD + fold} for fold, tokens in written)
    assert [pairs.source(row) for row in labelled] == [corpus.source(row) for row in plain]


@pytest.mark.parametrize(
    ("folds", "labelled_by_all", "writers"),
    [
        ([[0], [1], [2], [3], [4]], 3, [{0}, {1}, {0, 1}, {0, 1}, {0, 1}]),  # two of five folds have a teacher
        ([[0, 2], [1, 2], [0, 3], [1, 3], [1, 2]], 0, [{0}, {1}, {0}, {1}, {1}]),  # two repeats, the second without teachers
    ],
    ids=["hold-out", "repeats"],
)
def test_a_source_that_no_teacher_held_out_is_labelled_by_all(
    corpus: EncodedCorpus, tokenizer: Tokenizer, folds: list[list[int]], labelled_by_all: int, writers: list[set[int]]
) -> None:
    few = encoded_corpus(
        [corpus.source(row) for row in PLAIN], [corpus.target(row) for row in PLAIN], np.array(folds), corpus.vocabulary_size
    )
    teachers = [writer(corpus, {WORD + fold}) for fold in range(2)]
    settings = DistillSettings(**{**DISTILL.__dict__, "labelled_by": "out_of_fold", "num_hypotheses": 1})
    pairs, counts = distilled_corpus(few, teachers, tokenizer, Teaching(settings, DECODE), RUN)
    assert counts["labelled_by_all"] == labelled_by_all
    for row, expected in enumerate(writers):
        assert {token - WORD for token in pairs.target(5 + row)} <= expected


def test_the_teachers_of_all_repeats_decode_together(corpus: EncodedCorpus, tokenizer: Tokenizer) -> None:
    few = encoded_corpus([corpus.source(0)], [corpus.target(0)], np.array([[0, 3]]), corpus.vocabulary_size)
    teachers = [
        writer(corpus, pieces) for pieces in ({WORD, WORD + 1}, {WORD + 2}, {WORD + 3}, {WORD + 1, WORD + 4})
    ]  # folds 0 and 3 agree on one alone
    settings = DistillSettings(**{**DISTILL.__dict__, "labelled_by": "out_of_fold", "num_hypotheses": 1})
    pairs, _ = distilled_corpus(few, teachers, tokenizer, Teaching(settings, DECODE), RUN)
    assert pairs.target(1) == [WORD + 1]


def writer(corpus: EncodedCorpus, pieces: set[int]) -> Seq2SeqModel:
    """Build a model that outputs one of these pieces, all equally likely, and then END."""
    network = build_model(Shape.of(MODEL, corpus.vocabulary_size)).eval()

    def decode_step(tokens: torch.Tensor, state: object) -> torch.Tensor:
        logits = torch.full((len(tokens), corpus.vocabulary_size), -50.0)
        for piece in pieces:
            logits[tokens == BEGIN, piece] = 0.0
        logits[tokens != BEGIN, END] = 0.0
        return logits

    network.decode_step = decode_step  # type: ignore[method-assign, assignment]
    return network


def _has_slot(ids: list[int], tokenizer: Tokenizer) -> bool:
    return any(tokenizer.pieces[token] in SLOTS for token in ids)


def test_a_student_that_starts_from_its_teacher_takes_evenly_spaced_layers(model: Seq2SeqModel) -> None:
    teacher = build_model(replace(model.shape, decoder_feed_forward=(32, 32, 32)))
    student = build_model(replace(model.shape, decoder_feed_forward=(32, 32)))
    copy_teacher(student, teacher)
    for own, theirs in ((0, 0), (1, 2)):
        expected = teacher.decoder[theirs].state_dict()
        assert all(torch.equal(value, expected[name]) for name, value in student.decoder[own].state_dict().items())
    copy_teacher(same := build_model(model.shape), model)
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in same.state_dict().items())
    with pytest.raises(UserError, match=r"distill\.feed_forward differs from model\.feed_forward"):
        copy_teacher(build_model(replace(model.shape, encoder_feed_forward=(16,))), model)


def test_a_student_from_scratch_starts_from_word_vectors_if_the_models_do(
    corpus: EncodedCorpus, tokenizer: Tokenizer, model: Seq2SeqModel, tmp_path: Path
) -> None:
    settings = replace(DISTILL, beam_size=1, num_hypotheses=1, train=replace(TRAIN, max_steps=1, validate_every=1, warmup_steps=0))
    losses = []
    for number, embeddings in enumerate(("word2vec", "word2vec", "random")):
        kind = replace(MODEL, embeddings=embeddings)
        checkpoint = CheckpointFile(tmp_path / str(number), "a")
        *_, result = distill_student(corpus, [model] * 3, tokenizer, kind, Teaching(settings, DECODE), Run("student", 1, checkpoint))
        losses.append(result.history[0].train_loss)
    assert losses[0] == losses[1] != losses[2]


def test_without_original_pairs_the_student_trains_only_on_labels(corpus: EncodedCorpus, tokenizer: Tokenizer, model: Seq2SeqModel) -> None:
    settings = DistillSettings(**{**DISTILL.__dict__, "original_share": 0.0})
    pairs, counts = distilled_corpus(corpus, [model] * 3, tokenizer, Teaching(settings, DECODE), RUN)
    assert counts["originals"] == 0
    assert len(pairs) == counts["distilled"] == len(corpus) - counts["not_distilled"]
    assert np.isin(pairs.folds.numpy(), [0, 1, 2]).all()


def test_what_decoding_cut_short_is_not_distilled(corpus: EncodedCorpus, tokenizer: Tokenizer, model: Seq2SeqModel) -> None:
    settings = replace(DISTILL, original_share=0.0)
    limit = 14  # some sources are longer, and an untrained model comes to no end now and then
    pairs, counts = distilled_corpus(corpus, [model] * 3, tokenizer, Teaching(settings, replace(DECODE, max_tokens=limit)), RUN)
    assert 0 < counts["distilled"] < len(corpus)
    assert pairs.source_lengths().max() <= limit and pairs.target_lengths().max() < limit


def test_teachers_decode_each_task_by_its_own_settings(corpus: EncodedCorpus, tokenizer: Tokenizer) -> None:
    tasks = ["long" if row % 2 else "short" for row in range(len(PLAIN))]
    pairs = encoded_corpus(
        [corpus.source(row) for row in PLAIN],
        [corpus.target(row) for row in PLAIN],
        corpus.folds[list(PLAIN)].numpy(),
        corpus.vocabulary_size,
        tasks=tasks,
    )
    decodes = {"short": replace(DECODE, max_tokens=1, max_source_tokens=24), "long": replace(DECODE, method="sampling")}
    teaching = Teaching(replace(DISTILL, original_share=0.0), replace(DECODE, max_tokens=1), decodes=decodes)
    distilled, counts = distilled_corpus(pairs, [writer(corpus, {WORD})] * 3, tokenizer, teaching, RUN)
    assert distilled.tasks == ["long"] and counts["distilled"] == tasks.count("long")
    assert teaching.decode_of("long").method == "beam", "what is taught is searched, not drawn"


def test_a_student_that_would_learn_nothing_is_an_error(corpus: EncodedCorpus, tokenizer: Tokenizer) -> None:
    few = encoded_corpus([corpus.source(0)], [corpus.target(0)], np.array([[0]]), corpus.vocabulary_size)
    settings = replace(DISTILL, original_share=0.0, min_chrf=100.0)
    with pytest.raises(UserError, match=r"no teacher output was kept \(distill.min_chrf: 100\)"):
        distilled_corpus(few, [writer(corpus, {WORD})], tokenizer, Teaching(settings, DECODE), RUN)


def test_an_output_that_is_far_from_the_reference_or_repeats_a_slot_is_not_distilled(
    corpus: EncodedCorpus, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources, targets = tokenizer.encode_pairs(["Open %s", "Open it", "Close %s", "Save it"], ["打开 %s", "打开它", "关闭 %s", "保存它"])
    few = encoded_corpus(sources, targets, np.zeros((4, 1)), corpus.vocabulary_size)
    slot = SLOTS[0]
    beams = [[f"打开 {slot}{slot}", f"打开了 {slot}"], ["关闭", "打开"], [f"关闭 {slot}{slot}", "关闭"], ["不", "文件"]]
    written = [[Hypothesis(tokenizer.encode(text), -1.0) for text in beam] for beam in beams]
    monkeypatch.setattr("textmill.distill.distillation._labelled", lambda *_: written)
    settings = replace(DISTILL, min_chrf=30.0, original_share=0.0)
    pairs, counts = distilled_corpus(few, [], tokenizer, Teaching(settings, DECODE), RUN)
    assert [tokenizer.decode(pairs.target(row)) for row in range(len(pairs))] == [f"打开了 {slot}", "打开"]
    assert counts["distilled"] == 2 and counts["not_distilled"] == 2
