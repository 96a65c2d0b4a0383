from __future__ import annotations

import random
import unicodedata

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toy import PAIRS

from textmill.base.errors import UserError
from textmill.similarity.near_duplicates import jaccard
from textmill.split.decontamination import contaminated, units
from textmill.split.folds import Assignable, fold_rows, imbalance, test_rows
from textmill.split.groups import compared_texts, group_pairs, label_tasks
from textmill.split.settings import SplitSettings
from textmill.split.splitting import SplitCorpus, labels_of, split_corpus
from textmill.tasks.kinds import KINDS
from textmill.text.hashing import hashes64
from textmill.text.normalization import letters_only

test_rows.__test__ = False  # type: ignore[attr-defined]


def settings_with(**changes: object) -> SplitSettings:
    values = {"folds": [0, 1, 2], "num_folds": 3, "repeats": 1, "test_share": 0.15, "similarity": 0.7, "group_targets": "never"}
    return SplitSettings(**{**values, "overlap_units": 13, **changes})  # type: ignore[arg-type]


def frame(sources: list[str], **columns: list[str]) -> pd.DataFrame:
    rows = len(sources)
    given_columns = {"target": ["x"] * rows, "group": [""] * rows, "task": [""] * rows, "official_split": [""] * rows} | columns
    numbers = list(range(rows))
    table = {
        "id": [f"0-{number:05}" for number in numbers],
        "source": sources,
        "origin": ["file"] * rows,
        "line": numbers,
        "weight": [1.0] * rows,
    }
    return pd.DataFrame({**table, **given_columns})


def sentences(size: int, seed: int = 1) -> list[str]:
    """Two thirds are single sentences, the rest are families that differ by a word."""
    rng = random.Random(seed)
    words = ["".join(rng.choices("abcdefghijklmnoprstuvw", k=rng.randint(3, 8))) for _ in range(600)]
    made = [" ".join(rng.choices(words, k=rng.randint(5, 9))) for _ in range(size)]
    for place in range(2, size, 3):
        made[place] = made[place - 1] + " " + rng.choice(words)
    return made


def nearest_across(one: pd.DataFrame, other: pd.DataFrame) -> float:
    """Return the greatest similarity between the sources of two tables, by brute force."""
    texts = compared_texts(one) + compared_texts(other)
    first, second = np.meshgrid(np.arange(len(one)), len(one) + np.arange(len(other)))
    return float(jaccard(texts, first.ravel(), second.ravel()).max())


@pytest.mark.parametrize(
    ("first", "second", "is_equal"),
    [
        ("Save file", "save FILE!", True),
        ("Page 1", "page 2:", True),
        ("%s", "%d", False),
        ("保存。", "保存", True),
        ("Open", "Close", False),
        ("हिन्दी", "हनद", False),
        ("café", "cafe", False),
    ],
)
def test_only_letters_and_their_marks_count(first: str, second: str, is_equal: bool) -> None:
    assert (letters_only(first) == letters_only(second)) is is_equal


def test_which_pairs_are_in_one_group() -> None:
    pairs = frame(
        ["Save the file as it is", "Save the file as it was", "entirely different words", "zebra", "42", "a lonely one", "", ""],
        group=["", "", "", "a", "a", "", "", ""],
        target=["x", "y", "Same sentence.", "z", "w", "same sentence", "once upon a time", "once upon a time!"],
    )
    for group_targets, last in (("never", False), ("always", True)):
        numbers = group_pairs(pairs, settings_with(similarity=0.6, group_targets=group_targets), np.inf).numbers
        assert numbers[0] == numbers[1] and numbers[3] == numbers[4] and numbers[6] == numbers[7], "near, of one user's group, no source"
        assert len({numbers[0], numbers[2], numbers[3], numbers[6]}) == 4
        assert bool(numbers[2] == numbers[5]) is last, "equal targets"


def test_labels_are_told_from_sentences_by_task() -> None:
    rng = random.Random(1)
    targets = [rng.choice(["yes", "no"]) for _ in range(50)] + [f"answer number {n}" for n in range(50)]
    pairs = frame(sentences(100), target=targets, task=["judge"] * 50 + ["answer"] * 50)
    assert label_tasks(pairs, "auto") == {"judge": True, "answer": False}
    assert set(label_tasks(pairs, "always").values()) == {False} and set(label_tasks(pairs, "never").values()) == {True}
    long = frame(sentences(50), target=["the same long answer " * 4] * 50)
    assert label_tasks(long, "auto") == {"": False}, "few but long"


def test_a_group_that_is_too_large_is_split_by_a_stricter_similarity_and_reported() -> None:
    chain = [" ".join(f"word{'abcdefghijklmnopqrstuvwxyz'[(k + i) % 26] * 3}" for i in range(6)) for k in range(26)]
    pairs = frame(chain + sentences(60, seed=4))
    whole, apart = group_pairs(pairs, settings_with(similarity=0.5), np.inf), group_pairs(pairs, settings_with(similarity=0.5), 20)
    assert np.bincount(whole.numbers).max() >= 26 and not whole.is_apart.any()
    assert np.bincount(apart.numbers).max() <= 20 and apart.is_apart[:26].all() and not apart.is_apart[26:].any()
    assert apart.metrics["rows_by_similarity"]["0.50"] == 60 and sum(apart.metrics["rows_by_similarity"].values()) == 86
    coarse = {tuple(np.flatnonzero(whole.numbers == number)) for number in set(whole.numbers)}
    fine = [set(np.flatnonzero(apart.numbers == number).tolist()) for number in set(apart.numbers)]
    assert all(any(part <= set(group) for group in coarse) for part in fine), "parts of the groups that there were"


def test_no_test_source_is_similar_to_a_development_source_even_if_a_group_was_split() -> None:
    chain = [" ".join(f"word{'abcdefghijklmnopqrstuvwxyz'[(k + i) % 26] * 3}" for i in range(6)) for k in range(26)]
    pairs = frame(chain + sentences(40, seed=4))
    removed = 0
    for seed in range(6):
        result = split_corpus(pairs, settings_with(similarity=0.5, test_share=0.3), seed)
        assert nearest_across(result.development, result.test) < 0.5
        assert set(result.removed["reason"]) <= {"near_source"} and set(result.removed["test_id"]) <= set(result.test["id"])
        assert len(result.development) + len(result.test) + len(result.removed) == len(pairs)
        removed += len(result.removed)
    assert removed > 0


def check(result: SplitCorpus, pairs: pd.DataFrame, split: SplitSettings) -> None:
    parts = pd.concat([result.development.assign(part=0), result.test.assign(part=1)])
    assert sorted([*parts["id"], *result.removed["id"]]) == sorted(pairs["id"])
    assert (parts.groupby("group")["part"].nunique() == 1).all()
    folds = np.stack(result.development["folds"].to_list())
    for repeat in range(split.repeats):
        column = result.development.assign(fold=folds[:, repeat])
        assert (column.groupby("group")["fold"].nunique() == 1).all()
        assert set(column["fold"]) == set(range(repeat * split.num_folds, (repeat + 1) * split.num_folds))
    named = pairs.set_index("id")["group"]
    for _, rows in pairs[pairs["group"] != ""].groupby("group"):
        assert len({*parts[parts["id"].isin(rows["id"])]["group"]}) <= 1, "the user's groups"
    assert (named[result.test["id"]].isin(named[result.development["id"]]) <= (named[result.test["id"]] == "")).all()


@given(st.integers(0, 2**16), st.integers(0, 3), st.integers(2, 4), st.integers(1, 2))
@settings(max_examples=12, deadline=None)
def test_no_group_straddles_the_folds_partition_and_the_order_of_rows_does_not_matter(
    order: int, seed: int, num_folds: int, repeats: int
) -> None:
    texts = sentences(90, seed)
    rng = random.Random(seed)
    pairs = frame(texts, group=[rng.choice(["", "", "a", "b", "c"]) if n < 30 else "" for n in range(90)])
    split = settings_with(num_folds=num_folds, repeats=repeats, folds=[0])
    result = split_corpus(pairs, split, seed)
    check(result, pairs, split)
    shuffled = split_corpus(pairs.sample(frac=1, random_state=order), split, seed)
    for one, other in zip(result[:3], shuffled[:3], strict=True):
        pd.testing.assert_frame_equal(one, other)
    assert result.metrics == shuffled.metrics
    largest = result.metrics["largest_group"]
    sizes = np.array(result.metrics["folds"]).reshape(repeats, num_folds)
    assert np.ptp(sizes, axis=1).max() <= 2 * largest + 2, "folds are even up to the largest group"
    assert abs(len(result.test) - 0.15 * 90) <= 2 * largest + 4


def test_many_small_groups_give_even_folds_of_examples_characters_and_labels() -> None:
    rng = np.random.default_rng(0)
    texts = sentences(3000, seed=2)
    labels = rng.choice(["a", "b", "c"], 3000, p=[0.8, 0.15, 0.05]).tolist()
    result = split_corpus(frame(texts, target=labels), settings_with(num_folds=5, group_targets="auto"), 3)
    assert result.metrics["label_tasks"] == [""]
    assert result.metrics["imbalance"]["examples"] < 0.01 and result.metrics["imbalance"]["characters"] < 0.03
    assert abs(result.metrics["test_share"] - 0.15) < 0.01 and abs(result.metrics["test_share_of_characters"] - 0.15) < 0.02
    shares = result.test["target"].value_counts(normalize=True)
    assert shares["c"] == pytest.approx(labels.count("c") / 3000, rel=0.2)


def test_an_official_test_set_is_kept_and_overlapping_training_pairs_are_removed_with_a_reason() -> None:
    test_text = "the cat that sat on the mat in the hall saw a very small grey mouse"
    cases = {  # source, target, group of a training row -> reason
        "same group": ("nothing in common here at all", "t1", "document", "user_group"),
        "equal": ("Press OK, to continue!", "t2", "", "equal_source"),
        "near": ("Choose the folder where all your files are kept now", "t3", "", "near_source"),
        "overlap": (
            "quite other words first then " + test_text.upper() + " and much more behind it so that it is not near to it at all",
            "t4",
            "",
            "overlap",
        ),
        "overlap in the target": (
            "yet another source sentence of its own",
            "x " + "我们今天下午三点在学校门口集合出发。" + " 还有别的",
            "",
            "overlap",
        ),
        "free": ("a training sentence that nobody tests", "t6", "", ""),
        "short and common": ("the cat sat", "t7", "", ""),
    }
    tests = [
        ("a question from the document", "q1", "document"),
        ("press ok to continue", "q2", ""),
        ("Choose the folder where all your files are kept", "q3", ""),
        (test_text, "q4", ""),
        ("something", "我们今天下午三点在学校门口集合出发", ""),
    ]
    rows = [(source, target, group, "train") for source, target, group, _ in cases.values()] + [(*row, "test") for row in tests]
    rows += [(text, f"t{n}", "", "") for n, text in enumerate(sentences(12, seed=9))]
    pairs = frame(
        [row[0] for row in rows], target=[row[1] for row in rows], group=[row[2] for row in rows], official_split=[row[3] for row in rows]
    )
    result = split_corpus(pairs, settings_with(num_folds=2, folds=[0, 1]), 1)
    assert result.test["id"].tolist() == [f"0-{number:05}" for number in range(7, 12)]
    wanted = {f"0-{number:05}": reason for number, (_, _, _, reason) in enumerate(cases.values()) if reason}
    assert dict(zip(result.removed["id"], result.removed["reason"], strict=True)) == wanted
    assert result.removed["test_id"].tolist() == [f"0-{number:05}" for number in range(7, 12)]
    assert result.metrics["removed"] == {"user_group": 1, "equal_source": 1, "near_source": 1, "overlap": 2}
    assert result.metrics["official_test"] and len(result.development) == 14
    shuffled = split_corpus(pairs.iloc[::-1], settings_with(num_folds=2, folds=[0, 1]), 1)
    pd.testing.assert_frame_equal(result.removed, shuffled.removed)


def test_runs_of_words_and_of_characters_are_counted_alike() -> None:
    assert units("Save 3 files，保存 文件!") == ["save", "files", "保", "存", "文", "件"]
    training, test = frame(["一二三四五六"]), frame(["零一二三四五"])
    assert contaminated(training, test, settings_with(overlap_units=5, similarity=1.0))["reason"].tolist() == ["overlap"]
    assert contaminated(training, test, settings_with(overlap_units=6, similarity=1.0)).empty


def test_columns_pass_through_untouched() -> None:
    pairs = frame(sentences(60), task=["a", "b"] * 30).assign(weight=[0.5, 2.0] * 30)
    result = split_corpus(pairs, settings_with(), 1)
    kept = pd.concat([result.development, result.test]).sort_values("id")
    for column in ("source", "target", "task", "weight", "official_split", "origin", "line"):
        assert kept[column].tolist() == pairs[column].tolist()


def test_a_test_set_of_toy_pairs_is_the_same_as_ever_far_from_development() -> None:
    result = split_corpus(frame([source for source, _ in PAIRS]), settings_with(similarity=0.9), 1)
    assert nearest_across(result.development, result.test) < 0.9


@pytest.mark.parametrize(
    ("pairs", "changes", "message"),
    [
        (frame(["Alpha"]), {}, "1 pairs make 1 groups of similar pairs, too few for a test set"),
        (frame(["Alpha", "Beta", "Gamma"]), {}, "2 development pairs make 2 groups, too few for split.num_folds = 3"),
        (frame(["Alpha", "alpha", "Beta"]), {}, "2 of 3 pairs share one source or one user group"),
        (frame(sentences(10)), {"num_folds": 20, "folds": [0]}, "too few for split.num_folds = 20"),
        (
            frame([f"page {n}" for n in range(20)] + ["one", "two", "three", "four"]),
            {},
            "20 of 24 pairs share one source or one user group",
        ),
        (frame(sentences(24), group=["a"] * 20 + [""] * 4), {}, "20 of 24 pairs share one source or one user group"),
        (frame(["a", "b"], official_split=["test"] * 2), {}, "all 2 pairs are an official test set: no training pairs."),
        (frame(["Alpha beta"] * 2, official_split=["test", ""]), {}, "no training pairs remain"),
        (
            frame([f"the same long text of many words and one that differs {chr(97 + n) * 4}" for n in range(24)]),
            {},
            "0 development pairs make 0 groups, too few for split.num_folds = 3",
        ),
        (frame(["one", "two", "three", "four"], group=["a", "b", "c", "d"]), {"num_folds": 3, "repeats": 9}, "Lower it"),
    ],
)
def test_a_corpus_that_cannot_be_split_is_an_error_with_numbers(pairs: pd.DataFrame, changes: dict[str, object], message: str) -> None:
    with pytest.raises(UserError) as error:
        split_corpus(pairs, settings_with(**changes), 1)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_folds_are_even_by_stratum_and_groups_stay_whole() -> None:
    rng = np.random.default_rng(1)
    groups = rng.integers(0, 9000, 20_000)
    stratum = rng.integers(0, 4, 20_000)
    fold = fold_rows(assignable(groups, stratum), 4, "1")
    assert pd.Series(fold).groupby(groups).nunique().max() == 1
    assert imbalance(fold, np.ones(20_000)) < 0.01
    assert all(np.ptp(np.bincount(fold[stratum == each])) < 100 for each in range(4)), "of 1,250"


def assignable(groups: np.ndarray, stratum: np.ndarray) -> Assignable:
    return Assignable(groups, hashes64([str(group) for group in groups]), stratum, np.full(len(groups), 40))


def parts_by_id(result: SplitCorpus) -> dict[str, tuple[int, ...]]:
    """Return the fold of every development pair in every repeat; -1 for the test set, -2 for removed pairs."""
    found = dict(zip(result.development["id"], map(tuple, result.development["folds"]), strict=True))
    return found | dict.fromkeys(result.test["id"], (-1,)) | dict.fromkeys(result.removed["id"], (-2,))


def unequal_groups(size: int, seed: int) -> list[str]:
    """Names of groups of 1 to a fortieth of the rows, more small ones than large ones, in random order."""
    rng = random.Random(seed)
    names: list[str] = []
    while len(names) < size:
        names += [f"group {len(names)}"] * min(int(rng.paretovariate(1)), size // 40)
    return rng.sample(names[:size], size)


LABELS = {"few labels": 3, "many labels": 150}
GROWING: dict[str, tuple[pd.DataFrame, dict[str, object]]] = {
    "sentences": (frame(sentences(2000)), {}),
    "ten folds": (frame(sentences(2000)), {"num_folds": 10}),
    "repeats": (frame(sentences(2000)), {"repeats": 3}),
    "one hold-out": (frame(sentences(2000)), {"num_folds": 5, "folds": [0]}),
    "tasks": (frame(sentences(2000), task=["a", "b", "b", "c"] * 500), {}),
    **{
        name: (frame(sentences(3000), target=[f"label {n % number}" for n in range(3000)]), {"group_targets": "auto"})
        for name, number in LABELS.items()
    },
    "unequal groups": (frame(sentences(3000), group=unequal_groups(3000, 1)), {"similarity": 1.0}),
    "an official test set": (frame(sentences(2000), official_split=["test", "", "", "train"] * 500), {"similarity": 1.0}),
}


@pytest.mark.parametrize("name", GROWING)
def test_one_row_more_in_a_hundred_moves_at_most_two_old_ones_in_a_hundred(name: str) -> None:
    grown, changes = GROWING[name]
    split = settings_with(**changes)
    shares, left = [], []
    for seed in range(2):
        old = grown.sample(frac=0.99, random_state=seed)
        before, after = (parts_by_id(split_corpus(pairs, split, seed)) for pairs in (old, grown))
        moved = [np.mean(np.array(before[row]) != np.array(after[row])) for row in old["id"]]
        shares.append(np.mean(moved))
        left.append(np.mean([after[row] != (-1,) for row, part in before.items() if part == (-1,)]))
    assert np.mean(shares) <= 0.02
    assert np.mean(left) <= 0.04, "of the test set"


@pytest.mark.parametrize("name", GROWING)
def test_parts_that_may_grow_are_as_even_as_asked_for(name: str) -> None:
    pairs, changes = GROWING[name]
    split = settings_with(**changes)
    result = split_corpus(pairs, split, 5)
    folds = np.array(result.metrics["folds"]).reshape(split.repeats, split.num_folds)
    assert (folds.max(axis=1) <= 1.005 * folds.mean(axis=1) + 2).all()
    assert (folds.min(axis=1) >= 0.97 * folds.mean(axis=1) - 2).all()
    if not result.metrics["official_test"]:
        assert abs(len(result.test) - 0.15 * len(pairs)) <= 0.0075 * len(pairs)
    strata_of = result.development["target"] if name in LABELS else result.development["task"]
    fold = np.stack(result.development["folds"].to_list())[:, 0]
    counts = pd.crosstab(strata_of, fold).to_numpy()
    assert (counts.max(axis=1) <= 1.02 * counts.mean(axis=1) + 4).all()


@given(st.integers(0, 2**16), st.integers(1, 400), st.integers(2, 6), st.sampled_from(["1", "2"]))
@settings(max_examples=30, deadline=None)
def test_one_more_group_leaves_nearly_all_others_where_they_are(seed: int, new: int, num_folds: int, salt: str) -> None:
    """Without texts: random groups and strata, and one more group of one pair."""
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(400), rng.integers(1, 4, 400))
    stratum = rng.integers(0, rng.integers(1, 6), len(groups))
    grown, grown_stratum = np.append(groups, 400 + new), np.append(stratum, stratum[0])
    before = fold_rows(assignable(groups, stratum), num_folds, salt)
    after = fold_rows(assignable(grown, grown_stratum), num_folds, salt)
    assert np.mean(before != after[:-1]) <= 0.03
    assert pd.Series(after).groupby(grown).nunique().max() == 1 and set(after) == set(range(num_folds))


def test_another_seed_gives_another_test_set_and_other_folds() -> None:
    pairs = frame(sentences(600))
    one, other = (parts_by_id(split_corpus(pairs, settings_with(), seed)) for seed in (1, 2))
    assert np.mean([one[row] != other[row] for row in pairs["id"]]) > 0.5
    repeats = split_corpus(pairs, settings_with(repeats=2), 1).development["folds"].to_list()
    assert np.mean([first != second - 3 for first, second in repeats]) > 0.5


def test_when_two_groups_become_one_only_the_pairs_of_one_of_them_move() -> None:
    texts = sentences(300, seed=8)
    pairs = frame(texts, group=["a"] * 20 + ["b"] * 3 + [""] * 277)
    bridge = frame(["a new one of both"]).assign(id="9-0", source=texts[0], group="b")
    split = settings_with(similarity=1.0)
    for seed in range(4):
        before, after = (parts_by_id(split_corpus(each, split, seed)) for each in (pairs, pd.concat([pairs, bridge])))
        groups = [set(pairs["id"][:20]), set(pairs["id"][20:23])]
        assert len({after[row] for group in groups for row in group}) == 1
        assert any(all(before[row] == after[row] for row in group) for group in groups) or before == after


def test_variants_of_a_pair_are_never_in_two_parts() -> None:
    """Near-copies that differ only in case, spaces, Unicode composition, punctuation or direction."""
    texts, targets = sentences(300, seed=11), [f"{text[::-1]} é" for text in sentences(300, seed=12)]
    variants = {
        "case": (str.upper, str),
        "spaces": (lambda text: f"  {text.replace(' ', '   ')} ", str),
        "decomposed": (lambda text: unicodedata.normalize("NFD", text), str),
        "punctuation": (lambda text: f"„{text}“!", str),
    }
    rows = list(zip(texts, targets, strict=True))
    copies = [(change(source), keep(target)) for change, keep in variants.values() for source, target in rows[::15]]
    copies += [(target, source) for source, target in rows[::15]]
    both = rows + copies
    pairs = frame([source for source, _ in both], target=[target for _, target in both], task=["there"] * 300 + ["back"] * len(copies))
    part = parts_by_id(split_corpus(pairs, settings_with(group_targets="always"), 1))
    ids = pairs["id"].tolist()
    originals = ids[:300:15] * (len(variants) + 1)
    assert [part[copy] for copy in ids[300:]] == [part[original] for original in originals]


def test_prompts_and_labels_are_no_content_and_a_task_without_test_rows_is_named() -> None:
    poems = frame(
        [f"poem｜title {number}｜author" for number in range(60)],
        target=[f"{word} moon over the river {number}" for number, word in enumerate(sentences(60))],
        task="poem",
    )
    kinds = {"poem": KINDS["generation"], "label": KINDS["classification"]}
    assert compared_texts(poems, kinds) == compared_texts(poems.assign(source=""))
    test = poems.head(5).assign(id=lambda table: "t" + table["id"], official_split="test", target="something else entirely here now")
    split = settings_with(overlap_units=3, similarity=1.0)
    assert set(contaminated(poems, test, split)["reason"]) == {"equal_source"} and contaminated(poems, test, split, kinds).empty
    labels = frame(sentences(60), target=["yes", "no"] * 30, task="label")
    assert label_tasks(labels.head(4), "auto", kinds) == {"label": True} and label_tasks(labels.head(4), "auto") == {"label": False}
    assert labels_of(labels, kinds) == {"label": ["no", "yes"]}
    with pytest.raises(UserError, match=r"task label: has no pair in the test set\. Mark one of its sources"):
        split_corpus(pd.concat([poems, test, labels.assign(id=lambda table: "l" + table["id"])]), settings_with(), 1, kinds)
    with pytest.raises(UserError, match=r"\Atask label: none of its pairs passed the stage clean\. [^\n]*\Z"):
        split_corpus(poems, settings_with(), 1, kinds)
