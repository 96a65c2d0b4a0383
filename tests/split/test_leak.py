from __future__ import annotations

import random

import pandas as pd
import pytest

from textmill.split.leak import measure_leak
from textmill.split.settings import SplitSettings
from textmill.split.splitting import split_corpus

SPLIT = SplitSettings(folds=[0, 1], num_folds=2, repeats=1, test_share=0.2, similarity=0.5, group_targets="auto", overlap_units=13)


def pairs(family: int, labels: bool = False, official: str = "") -> pd.DataFrame:
    """150 families of sentences that differ by a digit or a word. Each family has one target, or each sentence a random label."""
    rng = random.Random(1)
    rows = []
    for number in range(150):
        words = ["".join(rng.choices("abcdefghijklmnoprstuvw", k=6)) for _ in range(6)]
        target = rng.choice(["yes", "no", "maybe"]) if labels else " ".join(rng.choices(words, k=6)) + f" {number}"
        rows += [(" ".join([*words, "".join(rng.choices("xyz", k=3))]), target) for _ in range(family)]
    table = pd.DataFrame(rows, columns=["source", "target"])
    split = [official if number % family == 0 and number < 60 else "" for number in range(len(table))]
    ids = [f"0-{number:04}" for number in range(len(table))]
    return table.assign(id=ids, group="", origin="f", line=range(len(table)), task="", weight=1.0, official_split=split)


def test_a_random_split_inflates_scores_if_there_are_near_copies_and_not_otherwise() -> None:
    leak = measure_leak(split_corpus(pairs(family=3), SPLIT, 1), 1)
    assert leak["metric"] == "chrf" and leak["naive"] > 80 > 40 > leak["protected"]
    assert leak["invented"] == pytest.approx(leak["naive"] - leak["protected"])
    alone = measure_leak(split_corpus(pairs(family=1), SPLIT, 1), 1)
    assert abs(alone["invented"]) < 10


def test_labels_are_scored_by_accuracy() -> None:
    leak = measure_leak(split_corpus(pairs(family=3, labels=True), SPLIT, 1), 1)
    assert leak["metric"] == "accuracy" and leak["naive"] > 85 and leak["protected"] < 60


def test_an_official_test_set_that_repeats_training_text_inflates_scores_unless_the_copies_are_removed() -> None:
    result = split_corpus(pairs(family=3, official="test"), SPLIT, 1)
    assert sum(result.metrics["removed"][reason] for reason in ("near_source", "equal_source")) == 40 and len(result.test) == 20
    leak = measure_leak(result, 1)
    assert leak["test_examples"] == 20 and leak["naive"] > 95 and leak["protected"] < 50
