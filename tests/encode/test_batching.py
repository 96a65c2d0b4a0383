from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from textmill.encode.batching import Batch, make_batch, word_dropout
from textmill.encode.encoded_corpus import encoded_corpus
from textmill.tokenizer.special import BEGIN, END, PAD, UNKNOWN

text = st.lists(st.integers(END + 1, 50), max_size=12)
pairs = st.lists(st.tuples(text, text), min_size=1, max_size=12)


def batch_of(chosen: list[tuple[list[int], list[int]]], rows: list[int]) -> Batch:
    sources, targets = zip(*chosen, strict=True)
    return make_batch(encoded_corpus(sources, targets, np.zeros((len(chosen), 1)), 51), rows)


@given(pairs, st.data())
def test_a_batch_is_what_one_row_after_the_other_gives(chosen: list[tuple[list[int], list[int]]], data: st.DataObject) -> None:
    rows = data.draw(st.lists(st.integers(0, len(chosen) - 1), min_size=1, max_size=8))  # in any order, some twice
    batch = batch_of(chosen, rows)
    width = max(1, *(len(chosen[row][0]) for row in rows), 1)
    height = max(len(chosen[row][1]) for row in rows) + 1
    indices, states = [], torch.randn(len(rows), height, 3)
    for index, row in enumerate(rows):
        source, target = chosen[row]
        assert batch.source[index].tolist() == source + [PAD] * (width - len(source))
        assert batch.target_input[index].tolist() == [BEGIN, *target] + [PAD] * (height - 1 - len(target))
        assert batch.target_output[index].tolist() == [*target, END] + [PAD] * (height - 1 - len(target))
        indices += [index * height + place for place in range(len(target) + 1)]
    assert batch.indices.tolist() == indices
    assert batch.targets().tolist() == [token for row in rows for token in (*chosen[row][1], END)]
    assert torch.equal(batch.real_positions(states), states[batch.target_output != PAD])
    assert {tensor.dtype for tensor in batch} == {torch.int64}


@given(pairs, st.sampled_from([0.0, 0.3, 1.0]), st.integers(0, 5), st.integers(0, 5), st.integers(0, 5))
def test_token_dropout_touches_text_alone_and_depends_on_its_numbers_alone(
    chosen: list[tuple[list[int], list[int]]], share: float, seed: int, epoch: int, number: int
) -> None:
    batch = batch_of(chosen, list(range(len(chosen))))
    before = [tensor.clone() for tensor in batch]
    torch.manual_seed(seed + 1)
    dropped = word_dropout(batch, share, seed, epoch, number)
    torch.manual_seed(seed + 2)
    assert all(torch.equal(a, b) for a, b in zip(dropped, word_dropout(batch, share, seed, epoch, number), strict=True))
    assert all(torch.equal(a, b) for a, b in zip(batch, before, strict=True)), "the batch itself is changed"
    assert torch.equal(dropped.target_output, batch.target_output) and torch.equal(dropped.indices, batch.indices)
    for new, old in ((dropped.source, batch.source), (dropped.target_input, batch.target_input)):
        assert new.dtype == old.dtype
        assert torch.equal(new[old <= END], old[old <= END]), "begin or padding is changed"
        assert bool(((new == old) | (new == UNKNOWN)).all())
        if share in (0.0, 1.0):
            assert bool((new[old > END] == UNKNOWN).all()) == (share == 1.0) or not (old > END).any()


def test_token_dropout_reads_its_share_as_unknown_and_differs_from_batch_to_batch() -> None:
    batch = batch_of([([7] * 100, [9] * 100)] * 100, list(range(100)))
    dropped = [word_dropout(batch, 0.2, *numbers) for numbers in ((1, 0, 0), (1, 0, 1), (1, 1, 0), (2, 0, 0))]
    for one in dropped:
        for tokens in (one.source, one.target_input):
            assert abs(float((tokens == UNKNOWN).float().mean()) - 0.2) < 0.02
    assert len({tuple(one.source.flatten().tolist()) for one in dropped}) == 4
