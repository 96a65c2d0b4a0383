from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from test_distillation import DISTILL, RUN
from toy import DECODE, MODEL

from textmill.decode.torch_engine import TorchEngine
from textmill.distill.distillation import Teaching, distilled_corpus
from textmill.encode.encoded_corpus import EncodedCorpus, encoded_corpus
from textmill.model.factory import build_model
from textmill.model.shape import Shape
from textmill.tasks.kinds import KINDS
from textmill.tokenizer.tokenizer import Tokenizer

LABELS = [[300], [301, 302], [303]]


@pytest.fixture
def labelled(corpus: EncodedCorpus) -> EncodedCorpus:
    """Rows of two tasks: every other row of the toy corpus has a label in place of its target."""
    rows = range(12)
    targets = [LABELS[row // 2 % 3] if row % 2 else corpus.target(row) for row in rows]
    return encoded_corpus(
        [corpus.source(row) for row in rows],
        targets,
        np.array([[row % 3] for row in rows]),
        corpus.vocabulary_size,
        weights=[2.0] * 12,
        tasks=["label" if row % 2 else "other" for row in rows],
    )


def test_the_labels_of_a_source_have_the_probabilities_of_its_out_of_fold_teacher(labelled: EncodedCorpus, tokenizer: Tokenizer) -> None:
    teachers = []
    for seed in range(3):
        torch.manual_seed(seed)
        teachers.append(build_model(Shape.of(MODEL, labelled.vocabulary_size)))
    kinds = {"label": KINDS["classification"], "other": KINDS["generation"]}
    settings = replace(DISTILL, original_share=0.0)
    pairs, counts = distilled_corpus(labelled, teachers, tokenizer, Teaching(settings, DECODE, kinds), RUN)
    assert counts["distilled"] == counts["originals"] == 0 and counts["soft_labels"] == len(pairs) > 0
    assert pairs.tasks == ["label"], "nothing is taught of the other task, and nothing of it is decoded"
    for row in range(1, 12, 2):
        own = [place for place in range(len(pairs)) if pairs.source(place) == labelled.source(row)]
        engine = TorchEngine([teachers[row % 3]])
        scores = [math.exp(sum(engine.score([labelled.source(row)], [label])[0])) for label in LABELS]
        wanted = {tuple(label): score / sum(scores) for label, score in zip(LABELS, scores, strict=True)}
        kept = {label: share for label, share in wanted.items() if share >= 0.02}
        found = {tuple(pairs.target(place)): float(pairs.weight[place]) / 2.0 for place in own}
        assert found == pytest.approx({label: share / sum(kept.values()) for label, share in kept.items()}, rel=1e-4)
        assert sum(found.values()) == pytest.approx(1.0)


def test_a_source_that_is_empty_has_no_soft_labels(labelled: EncodedCorpus, tokenizer: Tokenizer) -> None:
    rows = range(len(labelled))
    emptied = encoded_corpus(
        [[] if row == 3 else labelled.source(row) for row in rows],
        [labelled.target(row) for row in rows],
        labelled.folds.numpy(),
        labelled.vocabulary_size,
        tasks=[labelled.task_of(row) for row in rows],
    )
    torch.manual_seed(0)
    teachers = [build_model(Shape.of(MODEL, labelled.vocabulary_size))] * 3
    settings = replace(DISTILL, original_share=0.0)
    kinds = {"label": KINDS["classification"], "other": KINDS["generation"]}
    pairs, _ = distilled_corpus(emptied, teachers, tokenizer, Teaching(settings, DECODE, kinds), RUN)
    assert {tuple(pairs.source(place)) for place in range(len(pairs))} == {tuple(labelled.source(row)) for row in (1, 5, 7, 9, 11)}
