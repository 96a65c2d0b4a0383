from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toy import PAIRS

from textmill.corpus.groups import group_numbers, normalized_source
from textmill.corpus.split import split_corpus
from textmill.errors import UserError
from textmill.settings.corpus import SplitSettings

SPLIT = SplitSettings(folds=[0, 1, 2], test_share=0.15, similarity=0.9)


def frame(sources: list[str], groups: list[str] | None = None) -> pd.DataFrame:
    groups = groups or [""] * len(sources)
    rows = [(f"0-{number}", source, "x", group, "file", number) for number, (source, group) in enumerate(zip(sources, groups, strict=True))]
    return pd.DataFrame(rows, columns=["id", "source", "target", "group", "origin", "line"])


@pytest.mark.parametrize(
    ("first", "second", "is_equal"),
    [
        ("Save file", "save FILE!", True),
        ("Page 1", "page 2:", True),
        ("%s", "%d", False),
        ("保存。", "保存", True),
        ("Open", "Close", False),
    ],
)
def test_normalized_sources(first: str, second: str, is_equal: bool) -> None:
    assert (normalized_source(first) == normalized_source(second)) is is_equal


def test_near_copies_and_the_users_groups_are_one_group() -> None:
    numbers = group_numbers(
        frame(["Save the file as it is", "Save the file as it was", "entirely different words", "zebra", "42"], ["", "", "", "a", "a"]),
        similarity=0.7,
    )
    assert numbers[0] == numbers[1] != numbers[2]
    assert numbers[3] == numbers[4] != numbers[2]


@given(st.permutations(range(len(PAIRS[::2]))), st.integers(0, 3))
@settings(max_examples=10, deadline=None)
def test_no_group_straddles_and_the_answer_does_not_depend_on_the_order(order: list[int], seed: int) -> None:
    pairs = frame([source for source, _ in PAIRS[::2]])
    development, test, metrics = split_corpus(pairs, SPLIT, seed)
    shuffled = split_corpus(pairs.iloc[order], SPLIT, seed)
    pd.testing.assert_frame_equal(development, shuffled[0])
    pd.testing.assert_frame_equal(test, shuffled[1])
    assert sorted([*development["id"], *test["id"]]) == sorted(pairs["id"])
    parts = pd.concat([development, test.assign(fold=-1)])
    assert (parts.groupby("group")["fold"].nunique() == 1).all()
    assert metrics["folds"] == np.bincount(development["fold"], minlength=3).tolist()
    assert min(metrics["folds"]) > 0 and len(test) > 0


def test_nothing_in_development_is_as_near_to_the_test_set_as_the_similarity_says() -> None:
    development, test, _ = split_corpus(frame([source for source, _ in PAIRS]), SPLIT, 1)
    together = pd.concat([development, test], ignore_index=True).assign(group="")
    numbers = group_numbers(together, SPLIT.similarity)
    assert not set(numbers[: len(development)]) & set(numbers[len(development) :])


def test_more_folds_than_groups_and_a_group_larger_than_a_fold_are_errors_with_numbers() -> None:
    with pytest.raises(UserError, match="make 2 groups of similar sources, too few for 3 folds"):
        split_corpus(frame(["Alpha", "alpha", "Beta"]), SPLIT, 1)
    with pytest.raises(UserError, match="20 of 24 pairs are one group"):
        split_corpus(frame([f"page {number}" for number in range(20)] + ["one", "two", "three", "four"]), SPLIT, 1)
