from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from toy import PAIRS, TOKENIZER

from textmill.base.errors import UserError
from textmill.encode.batching import epoch_rows, make_batch, padding_share, token_budget_batches
from textmill.encode.encode import encode_corpus
from textmill.encode.encoded_corpus import EncodedCorpus
from textmill.encode.settings import EncodeSettings
from textmill.tasks.settings import require_names
from textmill.tokenizer.protection import protect, restore
from textmill.tokenizer.settings import TokenizerSettings
from textmill.tokenizer.special import BEGIN, END, PAD
from textmill.tokenizer.tasks import with_tasks
from textmill.tokenizer.tokenizer import Tokenizer, automatic_vocabulary_size, fit_tokenizer


# The second alphabet: what the tokenizer, or SentencePiece, uses for its own purposes.
@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])) | st.text(alphabet="a \n\x00\u2581\ufdd0\ufdd1\ufdd2\ue000"))
def test_decoding_gives_the_text_back_and_no_text_is_a_special_piece(tokenizer: Tokenizer, text: str) -> None:
    ids = tokenizer.encode(text)
    assert min(ids, default=END + 1) > END
    assert tokenizer.decode(ids) == text


@pytest.mark.parametrize("text", ["<s>", "</s>", "<unk>", "<pad>", "<0x41>", "▁", "a▁b ▁ c", "a  b", " x ", "，。"])
def test_special_names_spaces_and_wide_punctuation_are_ordinary_text(tokenizer: Tokenizer, text: str) -> None:
    assert tokenizer.decode(tokenizer.encode(text)) == text


@pytest.mark.parametrize(
    "damage",
    [
        lambda model: b"",
        lambda model: model[: len(model) // 2],
        lambda model: model.replace(b"<0x41>", b"<0x4\xf8>"),  # SentencePiece says so in a message that is not UTF-8 either
        lambda model: model.replace("\u2581".encode(), b"\xe2\xd6\x81", 1),
    ],
)
def test_a_damaged_tokenizer_is_named(tokenizer: Tokenizer, tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "tokenizer.model"
    damaged = damage(tokenizer.model)
    assert damaged != tokenizer.model
    path.write_bytes(damaged)
    with pytest.raises(UserError, match=r"tokenizer\.model: not a SentencePiece model\. Remove it and run `dvc checkout`"):
        Tokenizer.load(path)


@pytest.mark.parametrize("protect_spans", [False, True])
def test_special_names_in_the_training_text_stay_text_and_leave_no_special_id_in_the_encoded_corpus(protect_spans: bool) -> None:
    names = ["<s>", "</s>", "<unk>", "<pad>", "▁", "<0x41>", "<0x41> ▁▁ </s>"]
    texts = [f"{text} {name}" for (text, _), name in zip(PAIRS, names * 40, strict=True)]
    fitted = fit_tokenizer(texts, texts, replace(TOKENIZER, vocabulary_size=298 + 12 * protect_spans, protect_spans=protect_spans))
    frame = pd.DataFrame({"source": texts, "target": texts, "folds": [[0]] * len(texts), "task": "<s>", "weight": 1.0})
    corpus, _ = encode_corpus(frame, fitted, EncodeSettings(200))
    protected = [fitted.protect(f"<s>: {text}") for text in texts]
    assert int(min(corpus.source_tokens.min(), corpus.target_tokens.min())) > END
    assert [restore(fitted.decode(corpus.source(row)), protected[row]) for row in range(len(corpus))] == [f"<s>: {text}" for text in texts]
    assert [restore(fitted.decode(corpus.target(row)), protected[row]) for row in range(len(corpus))] == texts


def test_a_tokenizer_is_the_same_bytes_for_the_same_texts() -> None:
    sources, targets = zip(*PAIRS, strict=True)
    assert fit_tokenizer(sources, targets, TOKENIZER).model == fit_tokenizer(sources, targets, TOKENIZER).model


def test_a_vocabulary_that_the_corpus_does_not_allow_is_named_with_what_is_possible() -> None:
    for size in (5000, 278):
        with pytest.raises(UserError, match=f"tokenizer.vocabulary_size is {size}"):
            fit_tokenizer(["abc def"], ["图像 文件 打开"], TokenizerSettings(size, "unigram", 1.0, 1, True))


@pytest.mark.parametrize("text", ["图像 文件 打开", "a"], ids=["a line", "one character"])
def test_the_size_that_is_named_as_possible_is_possible(text: str) -> None:
    texts = [text] * 20
    with pytest.raises(UserError, match=r"tokenizer\.vocabulary_size is 5000, but this corpus allows at most \d+\. Lower it") as error:
        fit_tokenizer(texts, texts, replace(TOKENIZER, vocabulary_size=5000))
    possible = int(re.findall(r"\d+", str(error.value))[-1])
    fitted = fit_tokenizer(texts, texts, replace(TOKENIZER, vocabulary_size=possible))
    assert len(fitted.pieces) == possible and fitted.decode(fitted.encode(text)) == text
    with pytest.raises(UserError, match=f"allows at most {possible}"):
        fit_tokenizer(texts, texts, replace(TOKENIZER, vocabulary_size=possible + 1))


@pytest.mark.parametrize("texts", [[], ["", ""], ["\n", "\r\n"]])
def test_texts_that_are_all_empty_are_refused_in_one_line(texts: list[str]) -> None:
    with pytest.raises(
        UserError, match=r"^all texts are empty, so no tokenizer can be fitted\. Check the columns in params\.yaml, collect\.sources\.$"
    ):
        fit_tokenizer(texts, texts, TOKENIZER)


def test_a_changed_line_of_the_corpus_changes_its_own_tokens_and_no_others(tokenizer: Tokenizer, tmp_path: Path) -> None:
    frame = pd.DataFrame(PAIRS[:40], columns=["source", "target"]).assign(folds=[[0]] * 40, task="", weight=1.0)
    before, _ = encode_corpus(frame, tokenizer, EncodeSettings(200))
    frame.loc[17, "target"] += "。"
    after, _ = encode_corpus(frame, tokenizer, EncodeSettings(200))
    assert [row for row in range(40) if before.target(row) != after.target(row)] == [17]
    assert all(before.source(row) == after.source(row) for row in range(40))
    for corpus, name in ((before, "before"), (after, "after")):
        corpus.save(tmp_path / name)
    assert (tmp_path / "before").read_bytes() != (tmp_path / "after").read_bytes()


@pytest.mark.parametrize("side", ["source", "target"])
def test_a_line_of_a_million_tokens_is_counted_as_too_long(tokenizer: Tokenizer, side: str) -> None:
    frame = pd.DataFrame({"source": ["Open the file", "Close", "Save"], "target": ["打开文件", "关闭", "保存"]})
    frame = frame.assign(folds=[[0], [1], [2]], task="", weight=1.0)
    frame.loc[1, side] = "x" * 1_000_000
    assert len(tokenizer.encode(frame.loc[1, side])) >= 1_000_000
    corpus, metrics = encode_corpus(frame, tokenizer, EncodeSettings(20))
    assert (metrics["pairs"], metrics["too_long"]) == (2, 1)
    assert [tokenizer.decode(corpus.source(row)) for row in range(2)] == ["Open the file", "Save"]


ENCODE_IN_LITTLE_MEMORY = """
import resource, sys
from pathlib import Path
import pandas as pd
from textmill.encode.settings import EncodeSettings
from textmill.encode.encode import encode_corpus
from textmill.tokenizer.tokenizer import Tokenizer
tokenizer = Tokenizer.load(Path(sys.argv[1]))
texts = ["Open the file", "x" * 1_000_000, "x y " * 250_000]
frame = pd.DataFrame({"source": texts, "target": texts}).assign(folds=[[0]] * 3, task="", weight=1.0)
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (1 << 30), resource.RLIM_INFINITY))
print(encode_corpus(frame, tokenizer, EncodeSettings(20))[1]["too_long"])
"""


@pytest.mark.slow
def test_a_row_as_long_as_collect_lets_through_is_counted_in_a_gigabyte_of_memory(tokenizer: Tokenizer, tmp_path: Path) -> None:
    tokenizer.save(tmp_path / "tokenizer.model")
    environment = {**os.environ, "PYTHONPATH": str(Path("src").resolve()), "MALLOC_ARENA_MAX": "1"}
    command = [sys.executable, "-c", ENCODE_IN_LITTLE_MEMORY, str(tmp_path / "tokenizer.model")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "2\n"), done.stderr[-2000:]


def test_encoding_keeps_order_counts_what_is_too_long_and_survives_a_file(tokenizer: Tokenizer, tmp_path: object) -> None:
    from pathlib import Path

    frame = pd.DataFrame(
        {"source": ["Open the file", "x" * 200, "Close"], "target": ["打开文件", "长", "关闭"], "folds": [[0, 3], [1, 4], [2, 3]]}
    )
    frame = frame.assign(task=["", "", "ui"], weight=[1.0, 1.0, 0.5])
    corpus, metrics = encode_corpus(frame, tokenizer, EncodeSettings(20))
    assert metrics["too_long"] == 1 and metrics["pairs"] == 2
    path = Path(str(tmp_path)) / "c.safetensors"
    corpus.save(path)
    loaded = EncodedCorpus.load(path)
    assert [tokenizer.decode(loaded.source(row)) for row in range(2)] == ["Open the file", "ui: Close"]
    assert loaded.weight.tolist() == [1.0, 0.5] and loaded.tasks == ["", "ui"]
    assert loaded.folds.tolist() == [[0, 3], [2, 3]] and loaded.vocabulary_size == len(tokenizer.pieces)
    with pytest.raises(UserError, match="every pair is longer"):
        encode_corpus(frame.iloc[1:2], tokenizer, EncodeSettings(20))
    with pytest.raises(UserError, match=r"encode.max_tokens is 20 \(for sources 30\), and every pair of long is longer"):
        encode_corpus(frame.assign(task=["ui", "long", "ui"]), tokenizer, EncodeSettings(20, 30))


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


def test_lengths_of_both_sides_are_alike_in_a_batch() -> None:
    generator = np.random.default_rng(1)
    sources = np.exp(2.7 + 0.4 * generator.normal(size=20_000)).astype(int) + 1
    targets = (sources * np.exp(0.2 * generator.normal(size=20_000))).astype(int)
    batches = token_budget_batches(sources, targets, np.arange(20_000), 4096, seed=1, epoch=0)
    share, by_target = (
        padding_share(sources, targets, each) for each in (batches, np.array_split(np.lexsort((sources, targets)), len(batches)))
    )
    assert share < 0.06 < 0.08 < by_target


def test_the_padding_share_is_that_of_the_batches(corpus: EncodedCorpus) -> None:
    lengths = corpus.lengths()
    batches = token_budget_batches(*lengths, np.arange(len(corpus)), 200, 1, 0)
    made = [make_batch(corpus, rows) for rows in batches]
    sides = [side for batch in made for side in (batch.source, batch.target_output)]
    padding, positions = sum(int((side == PAD).sum()) for side in sides), sum(side.numel() for side in sides)
    assert padding_share(*lengths, batches) == pytest.approx(padding / positions) and padding > 0


def test_epochs_differ(corpus: EncodedCorpus) -> None:
    lengths = corpus.lengths()
    first, second = (token_budget_batches(*lengths, np.arange(len(corpus)), 200, 1, epoch) for epoch in (0, 1))
    assert [batch.tolist() for batch in first] != [batch.tolist() for batch in second]


weighted_rows = st.lists(st.tuples(st.booleans(), st.floats(0.01, 4)), min_size=1, max_size=40)


@given(weighted_rows, st.integers(0, 5), st.integers(0, 5))
def test_a_row_is_drawn_as_often_as_its_weight_says_whatever_the_other_rows_are(
    chosen: list[tuple[bool, float]], seed: int, epoch: int
) -> None:
    rows = np.flatnonzero([is_in for is_in, _ in chosen])
    weights = np.array([weight for _, weight in chosen])
    drawn = np.bincount(epoch_rows(rows, weights, seed, epoch), minlength=len(chosen))
    assert set(np.flatnonzero(drawn)) <= set(rows)
    for row in rows:
        assert int(weights[row]) <= drawn[row] <= int(weights[row]) + 1
        assert len(epoch_rows(np.array([row]), weights, seed, epoch)) == drawn[row], "the draw depends on another row"


def test_over_many_epochs_a_weight_is_the_mean_number_of_draws() -> None:
    weights = np.array([0.25, 1.0, 2.5, 1.5])
    drawn = sum(np.bincount(epoch_rows(np.arange(4), weights, 1, epoch), minlength=4) for epoch in range(2000)) / 2000
    assert np.allclose(drawn, weights, atol=0.05)


def test_weights_of_one_give_exactly_the_batches_without_weights(corpus: EncodedCorpus) -> None:
    rows, lengths = np.arange(1, len(corpus), 2), corpus.lengths()
    assert epoch_rows(rows, corpus.weight.numpy(), 1, 3) is rows
    doubled = epoch_rows(rows, np.full(len(corpus), 2.0), 1, 3)
    batches = token_budget_batches(*lengths, doubled, 200, 1, 3)
    assert np.bincount(np.concatenate(batches))[rows].tolist() == [2] * len(rows)


def test_a_batch_is_padded_and_shifted(corpus: EncodedCorpus) -> None:
    batch = make_batch(corpus, [0, 3])
    for row, index in enumerate((0, 3)):
        target = corpus.target(index)
        assert batch.target_input[row, : len(target) + 1].tolist() == [BEGIN, *target]
        assert batch.target_output[row, : len(target) + 1].tolist() == [*target, END]
        assert set(batch.target_output[row, len(target) + 1 :].tolist()) <= {PAD}


@given(st.sampled_from(["qa", "translate back", "open-book qa", "问答", "mail to", "http"]), st.text(max_size=20))
def test_a_name_that_the_settings_allow_is_never_copied_through_a_slot(task: str, source: str) -> None:
    require_names([task])
    (text,) = with_tasks([source], [task])
    assert protect(text).text.startswith(f"{task}: ")


@pytest.mark.parametrize("task", ["qa_zh", "translateBack", "task 12", "a.bc.de", "<s>", "a: b", " qa", "qa ", "a  b", "a\n"])
def test_other_names_are_refused(task: str) -> None:
    with pytest.raises(UserError, match="use only lower-case letters"):
        require_names([task])


@pytest.mark.parametrize("protect_spans", [True, False])
def test_an_automatic_vocabulary_fits_the_smallest_corpus_and_grows_with_the_text(protect_spans: bool) -> None:
    settings = replace(TOKENIZER, vocabulary_size="auto", protect_spans=protect_spans)
    for texts in (["甲 乙", "丙"], ["a"], [source for source, _ in PAIRS]):
        fitted = fit_tokenizer(texts, texts, settings)
        assert fitted.decode(fitted.encode_batch(texts)[0]) == texts[0]
    assert automatic_vocabulary_size(["ab" * 300_000]) == round(4 * 600_000**0.5)
    assert automatic_vocabulary_size(["".join(map(chr, range(0x4E00, 0x4E00 + 3000)))]) == 3500
    assert automatic_vocabulary_size(["a" * 1000] * 10**5) == 32_000
