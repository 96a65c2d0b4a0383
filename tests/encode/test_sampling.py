from __future__ import annotations

from dataclasses import replace
from multiprocessing.reduction import ForkingPickler

import numpy as np
import pytest
import torch
from toy import PAIRS, TOKENIZER

from textmill.base.errors import UserError
from textmill.encode.encoded_corpus import EncodedCorpus, encoded_corpus
from textmill.encode.sampling import ResampledEpochs, resampled
from textmill.tokenizer.tokenizer import Tokenizer, fit_tokenizer

ODD = ["", " ", "  two  spaces ", "€ 🙂 ü", "Öffne das Fenster", "<s> ▁", "%s"]  # without pieces of their own: bytes


@pytest.fixture(scope="module")
def texts(tokenizer: Tokenizer) -> EncodedCorpus:
    sources, targets = tokenizer.encode_pairs([source for source, _ in PAIRS[:60]] + ODD, [target for _, target in PAIRS[:60]] + ODD[::-1])
    return encoded_corpus(sources, targets, np.zeros((len(sources), 1)), len(tokenizer.pieces))


def cuts(corpus: EncodedCorpus) -> list[tuple[list[int], list[int]]]:
    return [(corpus.source(row), corpus.target(row)) for row in range(len(corpus))]


def decoded(corpus: EncodedCorpus, tokenizer: Tokenizer) -> list[tuple[str, str]]:
    return [(tokenizer.decode(source), tokenizer.decode(target)) for source, target in cuts(corpus)]


def test_texts_stay_the_same_and_so_do_the_segmentations_of_other_rows(texts: EncodedCorpus, tokenizer: Tokenizer) -> None:
    rows = np.array([row for row in range(len(texts)) if row % 3])
    anew = resampled(texts, rows, tokenizer, 0.2, 16, 1, 0)
    assert decoded(anew, tokenizer) == decoded(texts, tokenizer)
    changed = [row for row, (before, after) in enumerate(zip(cuts(texts), cuts(anew), strict=True)) if before != after]
    assert set(changed) <= set(rows.tolist()) and len(changed) > 0.3 * len(rows)
    assert anew.source_lengths().max() <= texts.source_lengths().max() and anew.target_lengths().max() <= texts.target_lengths().max()


def test_a_segmentation_depends_on_seed_epoch_and_row_alone(texts: EncodedCorpus, tokenizer: Tokenizer) -> None:
    every = np.arange(len(texts))
    first, again, alone = (resampled(texts, rows, tokenizer, 0.2, 16, 1, 4) for rows in (every, every[::-1], every[7:8]))
    assert cuts(first) == cuts(again) and cuts(first)[7] == cuts(alone)[7]
    for seed, epoch in ((1, 5), (2, 4)):
        assert cuts(resampled(texts, every, tokenizer, 0.2, 16, seed, epoch)) != cuts(first)


def test_a_large_alpha_takes_the_most_likely_segmentation_and_a_small_one_draws_uniformly(
    texts: EncodedCorpus, tokenizer: Tokenizer
) -> None:
    every = np.arange(len(texts))
    assert cuts(resampled(texts, every, tokenizer, 1e6, 16, 1, 0)) == cuts(texts)
    (row,) = [index for index, (source, _) in enumerate(PAIRS[:60]) if source == "Open the folder now"]
    candidates = [cut for cut, _ in tokenizer.candidates("Open the folder now", 4) if len(cut) <= texts.source_lengths().max()]
    drawn = [candidates.index(resampled(texts, np.array([row]), tokenizer, 1e-9, 4, 1, epoch).source(row)) for epoch in range(400)]
    counts = np.bincount(drawn, minlength=len(candidates))
    assert len(candidates) == 4 and np.abs(counts - 100).max() < 40, counts  # 4.6 standard deviations


def test_a_chance_is_the_probability_to_the_power_alpha(texts: EncodedCorpus, tokenizer: Tokenizer) -> None:
    """Kudo 2018, section 3.2. Segmentations longer than the longest text of the corpus have probability 0."""
    candidates = [(cut, score) for cut, score in tokenizer.candidates(PAIRS[0][0], 8) if len(cut) <= texts.source_lengths().max()]
    weights = np.exp(0.3 * np.array([score for _, score in candidates]))
    names = [cut for cut, _ in candidates]
    drawn = [names.index(resampled(texts, np.array([0]), tokenizer, 0.3, 8, 1, epoch).source(0)) for epoch in range(600)]
    np.testing.assert_allclose(np.bincount(drawn, minlength=len(names)) / 600, weights / weights.sum(), atol=0.09)


def test_a_tokenizer_that_is_no_unigram_model_is_refused(texts: EncodedCorpus) -> None:
    pieces = fit_tokenizer(*zip(*PAIRS, strict=True), replace(TOKENIZER, model_type="bpe"))
    with pytest.raises(UserError, match=r"needs tokenizer\.model_type unigram"):
        resampled(texts, np.arange(3), pieces, 0.2, 16, 1, 0)


def test_workers_give_the_same_epochs(texts: EncodedCorpus, tokenizer: Tokenizer) -> None:
    arguments = texts, np.arange(len(texts)), tokenizer, 0.2, 8, 1
    alone, helped = ResampledEpochs(*arguments, num_workers=0), ResampledEpochs(*arguments, num_workers=2)
    try:
        for epoch in (0, 1, 5):  # a training that resumes begins in the middle
            assert cuts(helped[epoch]) == cuts(alone[epoch])
    finally:
        helped.close()


def test_a_corpus_that_is_sent_to_workers_keeps_its_memory(texts: EncodedCorpus) -> None:
    """torch would move the tensors to shared memory, and NumPy views of them, as in training, would point to freed memory."""

    def places(corpus: EncodedCorpus) -> list[tuple[int, bool]]:
        return [(tensor.data_ptr(), tensor.is_shared()) for tensor in vars(corpus).values() if isinstance(tensor, torch.Tensor)]

    before = places(texts)
    received = ForkingPickler.loads(ForkingPickler.dumps(texts))
    assert places(texts) == before and len(before) == 7
    assert not any(is_shared for _, is_shared in places(received))
    assert all(torch.equal(tensor, getattr(texts, name)) for name, tensor in vars(received).items() if isinstance(tensor, torch.Tensor))
    assert (received.vocabulary_size, received.tasks) == (texts.vocabulary_size, texts.tasks)
