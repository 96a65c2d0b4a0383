from __future__ import annotations

import itertools
import random
import subprocess
import sys

import numpy as np
import pytest
from datasketch import MinHash, MinHashLSH
from hypothesis import given, settings
from hypothesis import strategies as st

from textmill.similarity.near_duplicates import NUM_HASHES, jaccard, normalized, representatives, signatures, similar_pairs

_WORDS = ["open", "close", "save", "file", "folder", "window", "user", "page", "image", "message", "all", "the", "a", "new", "of"]
_WORDS += ["打开", "关闭", "保存", "文件", "窗口", "用户", "页面", "消息", "报告"]


def ngrams(text: str) -> set[str]:
    """An independent implementation of the docstring, with strings and a set."""
    text = f" {normalized(text)} "
    return {text[i : i + 2] if text[i] >= "\u2e80" else text[i : i + 3] for i in range(len(text) - 1)}


def exact(first: str, second: str) -> float:
    a, b = ngrams(first), ngrams(second)
    return len(a & b) / len(a | b)


def corpus(size: int, seed: int = 1) -> list[str]:
    """Short sentences, a third of them with one changed character, so that there are pairs of every similarity."""
    rng = random.Random(seed)
    texts = [" ".join(rng.choices(_WORDS, k=rng.randint(3, 9))) for _ in range(size)]
    for place in range(0, size - 1, 3):
        cut = rng.randrange(len(texts[place]))
        texts[place + 1] = texts[place][:cut] + rng.choice("xyz中") + texts[place][cut + 1 :]
    return texts


def brute_force(texts: list[str], threshold: float) -> dict[tuple[int, int], float]:
    sets = [ngrams(text) for text in texts]
    pairs = itertools.combinations(range(len(texts)), 2)
    return {
        (a, b): len(sets[a] & sets[b]) / len(sets[a] | sets[b])
        for a, b in pairs
        if len(sets[a] & sets[b]) >= threshold * len(sets[a] | sets[b])
    }


@given(st.lists(st.text(max_size=20), min_size=2, max_size=8))
@settings(max_examples=60, deadline=None)
def test_the_similarity_of_any_texts_is_that_of_their_sets_of_ngrams(texts: list[str]) -> None:
    wide = str.maketrans(dict.fromkeys(range(0x1100, 0x1200), "中"))  # the test's own rule for wide begins at U+2E80
    texts = [text.translate(wide) for text in texts if all(c < "\u1100" or "\u3400" <= c <= "\u9fff" for c in normalized(text))]
    pairs = list(itertools.combinations(range(len(texts)), 2))
    if pairs:
        first, second = np.array(pairs).T
        np.testing.assert_allclose(jaccard(texts, first, second), [exact(texts[a], texts[b]) for a, b in pairs])


@pytest.mark.parametrize(
    ("first", "second", "similarity"),
    [
        ("Save the file", "save  the FILE ", 1.0),
        ("ＡＢＣ", "abc", 1.0),
        ("", "   ", 1.0),
        ("", "a", 0.0),
        ("保存文件", "保存文档", 3 / 7),
        ("cat", "cut", 1 / 7),
    ],
)
def test_known_similarities(first: str, second: str, similarity: float) -> None:
    assert jaccard([first, second], np.array([0]), np.array([1])).tolist() == [pytest.approx(similarity)]


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.7, 0.8, 0.9])
def test_at_least_98_of_100_similar_pairs_are_found_and_nothing_else(threshold: float) -> None:
    texts = list(dict.fromkeys(corpus(700)))
    wanted = brute_force(texts, threshold)
    pairs = similar_pairs(texts, threshold)
    found = dict(zip(zip(pairs.first.tolist(), pairs.second.tolist(), strict=True), pairs.similarity.tolist(), strict=True))
    assert len(found) == len(pairs.first), "a pair comes once"
    assert found == {pair: pytest.approx(wanted[pair]) for pair in found}
    assert len(wanted) > 10 and len(found) >= 0.98 * len(wanted)


def test_datasketch_finds_no_pair_above_the_threshold_that_we_do_not() -> None:
    texts = list(dict.fromkeys(corpus(400, seed=5)))
    index, sketches = MinHashLSH(threshold=0.6, num_perm=128, weights=(0.1, 0.9)), []
    for number, text in enumerate(texts):
        sketch = MinHash(num_perm=128, seed=7)
        sketch.update_batch([ngram.encode() for ngram in sorted(ngrams(text))])
        index.insert(number, sketch)
        sketches.append(sketch)
    theirs = {(number, other) for number, sketch in enumerate(sketches) for other in index.query(sketch) if number < other}
    theirs = {(a, b) for a, b in theirs if exact(texts[a], texts[b]) >= 0.75}
    pairs = similar_pairs(texts, 0.7)
    ours = set(zip(pairs.first.tolist(), pairs.second.tolist(), strict=True))
    assert len(theirs) > 20 and theirs <= ours


def test_a_signature_is_a_function_of_its_text_alone_in_any_process() -> None:
    texts = corpus(50)
    whole = signatures(texts)
    assert whole.shape == (50, NUM_HASHES) and whole.dtype == np.uint16
    np.testing.assert_array_equal(np.concatenate([signatures(texts[:17]), signatures(texts[17:])]), whole)
    program = f"from textmill.similarity.near_duplicates import signatures; print(signatures({texts[:3]!r}).tolist())"
    for seed in ("0", "5"):
        done = subprocess.run(
            [sys.executable, "-c", program], env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)}, capture_output=True
        )
        assert done.stdout.decode().strip() == str(whole[:3].tolist()), done.stderr


@given(st.permutations(range(60)))
@settings(max_examples=10, deadline=None)
def test_neither_pairs_nor_representatives_depend_on_the_order(order: list[int]) -> None:
    texts = list(dict.fromkeys(corpus(60)))
    order = [row for row in order if row < len(texts)]
    ids = [f"0-{number:03}" for number in range(len(texts))]
    pairs, shuffled = similar_pairs(texts, 0.4), similar_pairs([texts[row] for row in order], 0.4)
    as_texts = [
        {frozenset((where[a], where[b])) for a, b in zip(each.first, each.second, strict=True)}
        for where, each in ((texts, pairs), ([texts[row] for row in order], shuffled))
    ]
    assert as_texts[0] == as_texts[1]
    dropped, stays = representatives(ids, texts, 0.4)
    other, others_stay = representatives([ids[row] for row in order], [texts[row] for row in order], 0.4)
    assert {(order[a], order[b]) for a, b in zip(other, others_stay, strict=True)} == set(
        zip(dropped.tolist(), stays.tolist(), strict=True)
    )


def test_a_text_is_dropped_only_if_it_is_similar_to_a_text_that_is_kept() -> None:
    texts = corpus(500, seed=3) + corpus(40, seed=3)
    ids = list(range(len(texts)))
    dropped, stays = representatives(ids, texts, 0.5)
    assert len(dropped) > 100 and not set(dropped.tolist()) & set(stays.tolist())
    assert all(exact(texts[a], texts[b]) >= 0.5 for a, b in zip(dropped, stays, strict=True))
    left = [texts[row] for row in sorted(set(ids) - set(dropped.tolist()))]
    assert len(brute_force(left, 0.5)) <= 0.02 * len(brute_force(texts, 0.5)), "what is left has no near duplicates"


def test_similarity_is_not_transitive_along_a_chain() -> None:
    chain = ["abcdefghij", "cdefghijkl", "efghijklmn"]
    assert exact(chain[0], chain[1]) >= 0.35 > exact(chain[0], chain[2])
    dropped, stays = representatives([0, 1, 2], chain, 0.35)
    assert (dropped.tolist(), stays.tolist()) == ([1], [0])


def test_equal_texts_are_paired_with_the_first_of_them_and_treated_alike() -> None:
    texts = ["Open the file now", "Open the file now!", "open  the file now!", "open the file now!"]
    pairs = similar_pairs(texts[1:], 0.9)
    assert (pairs.first.tolist(), pairs.second.tolist(), pairs.similarity.tolist()) == ([0, 0], [1, 2], [1.0, 1.0])
    dropped, stays = representatives([0, 1, 2, 3], texts, 0.7)
    assert (dropped.tolist(), stays.tolist()) == ([1, 2, 3], [0, 0, 0])


def test_a_bucket_that_is_too_large_is_counted_and_its_near_copies_are_still_found() -> None:
    rng = random.Random(2)
    shared = "the quick brown fox jumps over the lazy dog and runs away from "
    texts = [shared + "".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=8)) for _ in range(1500)]
    texts += [text[:-1] + "9" for text in texts[:50]]
    pairs = similar_pairs(texts, 0.8)
    assert pairs.crowded > 1000
    found = set(zip(pairs.first.tolist(), pairs.second.tolist(), strict=True))
    assert sum((number, 1500 + number) in found for number in range(50)) >= 49
    assert similar_pairs(texts[:100], 0.8).crowded == 0


def test_no_text_one_text_and_lone_surrogates() -> None:
    assert len(similar_pairs([], 0.5).first) == 0 and len(similar_pairs(["a"], 0.5).first) == 0
    pairs = similar_pairs(["\ud800 broken", "\ud800 broken", "x"], 0.5)
    assert (pairs.first.tolist(), pairs.second.tolist()) == ([0], [1])
