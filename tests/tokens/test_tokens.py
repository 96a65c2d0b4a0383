from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from toy import PAIRS, TOKENIZER

from textmill.errors import UserError
from textmill.settings.tokens import EncodeSettings, TokenizerSettings
from textmill.tokens.batching import make_batch, token_budget_batches
from textmill.tokens.encode import encode_corpus
from textmill.tokens.shards import EncodedCorpus
from textmill.tokens.tokenizer import BEGIN, END, PAD, Tokenizer, fit_tokenizer


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\x00")))
def test_decoding_gives_the_text_back_and_no_text_is_a_special_piece(tokenizer: Tokenizer, text: str) -> None:
    ids = tokenizer.encode(text)
    assert min(ids, default=END + 1) > END
    assert tokenizer.decode(ids) == text.replace("\u2581", " ")  # SentencePiece's own sign for a space


@pytest.mark.parametrize("text", ["<s>", "</s>", "<unk>", "<pad>", "<0x41>", "a  b", " x ", "，。"])
def test_special_names_spaces_and_wide_punctuation_are_ordinary_text(tokenizer: Tokenizer, text: str) -> None:
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_a_tokenizer_is_the_same_bytes_for_the_same_texts() -> None:
    texts = [text for pair in PAIRS for text in pair]
    assert fit_tokenizer(texts, TOKENIZER).model == fit_tokenizer(texts, TOKENIZER).model


def test_a_vocabulary_that_the_corpus_does_not_allow_is_named_with_what_is_possible() -> None:
    for size in (5000, 262):
        with pytest.raises(UserError, match=f"tokenizer.vocabulary_size is {size}"):
            fit_tokenizer(["abc def", "图像 文件 打开"], TokenizerSettings(size, "unigram", 1.0, 1))


def test_encoding_keeps_order_counts_what_is_too_long_and_survives_a_file(tokenizer: Tokenizer, tmp_path: object) -> None:
    from pathlib import Path

    frame = pd.DataFrame(
        {"source": ["Open the file", "x" * 200, "Close"], "target": ["打开文件", "长", "关闭"], "folds": [[0, 3], [1, 4], [2, 3]]}
    )
    corpus, metrics = encode_corpus(frame, tokenizer, EncodeSettings(20))
    assert metrics["too_long"] == 1 and metrics["pairs"] == 2
    path = Path(str(tmp_path)) / "c.safetensors"
    corpus.save(path)
    loaded = EncodedCorpus.load(path)
    assert [tokenizer.decode(loaded.source(row)) for row in range(2)] == ["Open the file", "Close"]
    assert loaded.folds.tolist() == [[0, 3], [2, 3]] and loaded.vocabulary_size == len(tokenizer.pieces)
    with pytest.raises(UserError, match="every pair is longer"):
        encode_corpus(frame.iloc[1:2], tokenizer, EncodeSettings(20))


@given(st.lists(st.tuples(st.integers(1, 40), st.integers(0, 40)), min_size=1, max_size=80), st.integers(1, 300), st.integers(0, 3))
def test_batches_hold_every_row_once_within_the_budget(lengths: list[tuple[int, int]], budget: int, epoch: int) -> None:
    sources, targets = (np.array(side) for side in zip(*lengths, strict=True))
    rows = np.arange(len(lengths))
    batches = token_budget_batches(sources, targets, rows, budget, seed=1, epoch=epoch)
    assert sorted(np.concatenate(batches).tolist()) == rows.tolist()
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(sources[batch].max(), targets[batch].max() + 1) <= budget
    again = token_budget_batches(sources, targets, rows, budget, seed=1, epoch=epoch)
    assert all((a == b).all() for a, b in zip(batches, again, strict=True))


def test_epochs_differ(corpus: EncodedCorpus) -> None:
    lengths = corpus.source_lengths().numpy(), corpus.target_lengths().numpy()
    first, second = (token_budget_batches(*lengths, np.arange(len(corpus)), 200, 1, epoch) for epoch in (0, 1))
    assert [batch.tolist() for batch in first] != [batch.tolist() for batch in second]


def test_a_batch_is_padded_and_shifted(corpus: EncodedCorpus) -> None:
    batch = make_batch(corpus, [0, 3])
    for row, index in enumerate((0, 3)):
        target = corpus.target(index)
        assert batch.target_input[row, : len(target) + 1].tolist() == [BEGIN, *target]
        assert batch.target_output[row, : len(target) + 1].tolist() == [*target, END]
        assert set(batch.target_output[row, len(target) + 1 :].tolist()) <= {PAD}
