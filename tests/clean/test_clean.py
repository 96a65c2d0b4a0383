from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from cleaning import CLEAN, EVERYTHING_OFF, cleaned, filters, frame
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from test_evidence import PAIRS

from textmill.base.errors import UserError
from textmill.clean import cleaning as clean_module
from textmill.clean import ordering
from textmill.clean.counts import REASONS
from textmill.encode.encode import encode_corpus
from textmill.encode.settings import EncodeSettings
from textmill.tasks.languages import LanguageSettings
from textmill.tokenizer.settings import TokenizerSettings
from textmill.tokenizer.tokenizer import fit_tokenizer

DIRTY = [
    ("<p>Open the window.</p>", "<b>打开窗户。</b>"),
    ("Write to user7@example.com today.", "今天写信到 user7@example.com 吧。"),
    ("Tom sees the house.", "汤姆看见房子。"),
    ("TOM SEES THE HOUSE .", "汤姆看见房子。"),
    ("Lost text", "丢了\ufffd"),
    ("Same", "Same"),
    ("Close the door.", "关上门。"),
    ("Close the door.", "关上门。"),
]


def corpus() -> pd.DataFrame:
    return frame([*map(tuple, PAIRS), *DIRTY])  # type: ignore[arg-type]


def test_every_step_leaves_its_trace(tmp_path: Path) -> None:
    result = cleaned(corpus(), tmp_path)
    kept = dict(zip(result.kept["source"], result.kept["target"], strict=True))
    assert kept["Open the window."] == "打开窗户。"
    assert kept["Write to <EMAIL> today."] == "今天写信到 <EMAIL> 吧。"
    rejected = dict(zip(result.rejected["source"], result.rejected["reason"], strict=True))
    assert rejected["TOM SEES THE HOUSE ."] == "near_duplicate"
    assert rejected["Lost text"] == "damaged"
    assert rejected["Same"] == "copy"
    assert rejected["Close the door."] == "duplicate"
    metrics = result.metrics
    assert metrics["private"]["email"] == 1
    assert metrics["repaired"]["markup"] == 1
    assert metrics["rejected"]["copy"] == 1
    assert metrics["evidence_rows"] > 900
    (sample,) = result.samples["repaired"]["markup"]
    assert (sample["source"], sample["clean_source"]) == ("<p>Open the window.</p>", "Open the window.")
    assert result.samples["private"]["email"][0]["source"] == "Write to <EMAIL> today.", "a sample must not show it either"
    assert result.samples["rejected"]["copy"][0]["line"] == len(PAIRS) + 6


# What Unicode keeps free of characters (the tokenizer uses U+FDD0 itself), a private one, one that turns the direction, one unassigned.
ODD_CHARACTERS = ["\ufdd0", "\ufdef", "\uffff", "\U0010ffff", "\ue000", "\u202e", "\u0378"]


def test_invisible_characters_are_removed_and_counted_and_the_rest_comes_back_from_the_tokens(tmp_path: Path) -> None:
    things = {"window": "窗户", "door": "门", "box": "盒子", "book": "书", "letter": "信", "bag": "包", "bottle": "瓶子"}
    odd = [
        (f"Open the {character}{thing}.", f"打开{chinese}。")
        for character, (thing, chinese) in zip(ODD_CHARACTERS, things.items(), strict=True)
    ]
    shown = ("Draw a \u2581 here.", "在这里画一个 \u2581。")
    result = cleaned(frame([*map(tuple, PAIRS), *odd, shown]), tmp_path)  # type: ignore[arg-type]
    kept = dict(zip(result.kept["source"], result.kept["target"], strict=True))
    assert {f"Open the {thing}." for thing in things} | {shown[0]} <= set(kept)
    assert result.metrics["repaired"]["invisible"] == len(odd)
    texts = [*kept, *kept.values()]
    tokenizer = fit_tokenizer(texts, texts, TokenizerSettings(400, "unigram", 1.0, 1, False))
    assert [tokenizer.decode(tokenizer.encode(text)) for text in texts] == texts


def test_whatever_cleaning_keeps_comes_back_from_the_encoded_corpus(tmp_path: Path) -> None:
    """Nothing is repaired, so that every character reaches the tokenizer."""
    generator = random.Random(0)
    every = [chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000]
    texts = ["".join(generator.choices([*ODD_CHARACTERS, "\u2581", "\x00", " ", generator.choice(every)], k=9)) for _ in range(1000)]
    rows = frame([*zip(texts, reversed(texts), strict=True)])
    kept = cleaned(rows, tmp_path, EVERYTHING_OFF).kept
    tokenizer = fit_tokenizer(*zip(*PAIRS, strict=True), TokenizerSettings(400, "unigram", 1.0, 1, False))
    encoded, _ = encode_corpus(kept.assign(folds=[[0]] * len(kept)), tokenizer, EncodeSettings(1000))
    assert [tokenizer.decode(encoded.source(row)) for row in range(len(encoded))] == rows["source"].tolist()
    assert [tokenizer.decode(encoded.target(row)) for row in range(len(encoded))] == rows["target"].tolist()


def test_the_order_of_the_rows_does_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = corpus()
    rows = rows.assign(origin=[f"file-{number % 3}" for number in range(len(rows))])
    first = cleaned(rows.sort_values(["origin", "line"]), tmp_path)
    monkeypatch.setattr(ordering, "_BUCKET_ROWS", 100)
    monkeypatch.setattr(clean_module, "CHUNK_ROWS", 37)
    shuffled = rows.iloc[np.random.default_rng(0).permutation(len(rows))]
    assert cleaned(shuffled, tmp_path).bytes == first.bytes


def test_two_workers_give_the_same_bytes_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clean_module, "CHUNK_ROWS", 200)
    one = cleaned(corpus(), tmp_path)
    two = cleaned(corpus(), tmp_path, replace(CLEAN, workers=2))
    assert two.bytes == one.bytes
    assert two.metrics == one.metrics


@hypothesis_settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.text(max_size=30), st.text(max_size=30)), max_size=20))
def test_every_row_is_kept_or_rejected_with_a_reason(tmp_path: Path, pairs: list[tuple[str, str]]) -> None:
    rows = frame([("Keep me", "留下我吧"), *pairs])
    result = cleaned(rows, tmp_path)
    assert sorted([*result.kept["id"], *result.rejected["id"]]) == sorted(rows["id"])
    assert result.metrics["rows_in"] == len(rows) == result.metrics["rows_out"] + sum(result.metrics["rejected"].values())
    assert set(result.rejected["reason"]) <= set(REASONS) == set(result.metrics["rejected"])
    assert sum(result.metrics["source_characters"]["counts"]) == len(result.kept)
    raw = rows.set_index("id")["source"]
    assert all(raw[each] == source for each, source in zip(result.rejected["id"], result.rejected["source"], strict=True))


def test_with_everything_off_rows_pass_as_they_are(tmp_path: Path) -> None:
    rows = corpus()
    result = cleaned(rows, tmp_path, EVERYTHING_OFF)
    assert result.rejected.empty
    assert result.kept[["id", "source", "target"]].equals(rows[["id", "source", "target"]])


def test_labels_need_few_knobs(tmp_path: Path) -> None:
    settings = filters(length_ratio=0.0, copy=False, truncated=0.0, misaligned=0.0, max_length_deviation=0.0, scripts=True)
    rows = frame([("What a film, I loved every minute of it.", "1"), ("Dull.", "0"), ("Quite good in the end.", "1")])
    assert cleaned(rows, tmp_path, settings, LanguageSettings("en", "und")).rejected.empty


def test_a_file_in_another_language_than_claimed_gives_a_warning(tmp_path: Path) -> None:
    cantonese = [(pair.source, f"佢哋{pair.target}嘅") for pair in PAIRS[:90]]
    result = cleaned(frame([*cantonese, ("Good morning to you.", "早上好啊。")]), tmp_path)
    warning = result.metrics["warnings"][0]
    assert "99% of the targets are not zh; most of those are yue (written Cantonese)" in warning
    assert result.metrics["chinese_variants"]["target"]["cantonese"] == 90
    assert result.metrics["languages"]["target"] == {"yue": 90, "zh": 1}


def test_an_empty_corpus_and_one_without_a_passing_row_are_errors_of_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"pairs\.parquet: contains no pairs"):
        cleaned(frame([]), tmp_path)
    (tmp_path / "kept.parquet").write_text("from an earlier run")
    with pytest.raises(UserError, match=r"no pair of 2 passed \(copy: 1, empty: 1\)"):
        cleaned(frame([("a b c", "a b c"), ("", "b")]), tmp_path)
    assert (tmp_path / "kept.parquet").read_text() == "from an earlier run"


def test_a_scheduler_that_does_not_answer_is_an_error_of_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"clean\.scheduler: no Dask scheduler with workers at tcp://127\.0\.0\.1:9 .*Start both"):
        cleaned(frame([("a", "b")]), tmp_path, replace(CLEAN, scheduler="tcp://127.0.0.1:9"))
