from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from textmill.clean.duplicates import DUPLICATE_REASONS, compared_text, duplicate_keys, find_duplicates, folded_text
from textmill.clean.executors import InProcess
from textmill.clean.repairs import Pair
from textmill.clean.samples import SmallestHashes
from textmill.clean.stored_texts import Chosen, StoredTexts

LONG = "The committee will meet again on the second Monday of next month to talk about the budget for schools and roads"


def fates(
    pairs: list[Pair], folder: Path, similarity: float = 0.9, contexts: list[str] | None = None, by_source: bool = False
) -> list[str]:
    contexts, compared = contexts or [""] * len(pairs), [compared_text(pair, by_source) for pair in pairs]
    keys = duplicate_keys(pairs, contexts, [0] * len(pairs), compared, similarity > 0)
    with StoredTexts(folder / "texts") as texts:
        texts.extend(compared)
        texts.flush()
        found = find_duplicates(
            keys, np.arange(len(pairs), dtype=np.uint64), texts, dict.fromkeys(keys.context.tolist(), similarity), InProcess()
        )
    return [("", *DUPLICATE_REASONS)[number] for number in found.reason]


@pytest.mark.parametrize(
    ("first", "second", "fate"),
    [
        (Pair("Open", "打开"), Pair("Open", "打开"), "duplicate"),
        (Pair("Open", "打开"), Pair("Open", "开启"), ""),
        (Pair("I like dogs.", "我喜欢狗。"), Pair("I LIKE DOGS .", "我喜欢狗。"), "near_duplicate"),
        (Pair("I like dogs.", "我喜欢狗。"), Pair("I like dogs", "我喜欢狗"), "near_duplicate"),
        (Pair("I like dogs.", "我喜欢狗。"), Pair("I like cats.", "我喜欢猫。"), ""),
        (Pair("C++", "C++"), Pair("C#", "C#"), ""),
        (Pair("Save {0}", "保存 {0}"), Pair("Save {1}", "保存 {1}"), ""),
        (Pair(LONG, "x"), Pair(LONG + "s", "x"), "near_duplicate"),
        (Pair("...", "。。。"), Pair("!!!", "！！！"), ""),
    ],
)
def test_which_pairs_are_duplicates(first: Pair, second: Pair, fate: str, tmp_path: Path) -> None:
    assert fates([first, second], tmp_path) == ["", fate]
    assert fates([first, second], tmp_path, similarity=0)[1] == ("duplicate" if fate == "duplicate" else "")


def test_by_source_one_translation_stays_and_other_contexts_are_other_corpora(tmp_path: Path) -> None:
    pairs = [Pair("Open", "打开"), Pair("Open", "开启")]
    assert fates(pairs, tmp_path, by_source=True) == ["", "duplicate"]
    assert fates([pairs[0]] * 2, tmp_path, contexts=["train", "test"]) == ["", ""]


def test_the_better_row_stays_wherever_it_stands(tmp_path: Path) -> None:
    assert fates([Pair("I LIKE DOGS.", "我喜欢狗。"), Pair("I like dogs.", "我喜欢狗。")], tmp_path) == ["near_duplicate", ""]


def test_similarity_is_not_transitive(tmp_path: Path) -> None:
    """In a chain of small steps, the last text is similar to its neighbour, but not to the row that is kept."""
    letters = [chr(0x4E00 + 37 * number) for number in range(60)]
    chain = ["".join([*letters[step:], *(chr(0x5E00 + 41 * extra) for extra in range(step))]) for step in range(0, 40, 2)]
    reasons = fates([Pair(text, "y") for text in chain], tmp_path, similarity=0.85)
    assert 1 < reasons.count("") < len(chain)


def test_folding() -> None:
    assert folded_text("Ｈello,  World !") == folded_text("hello world")
    assert folded_text("?!") == "?!"


def test_stored_texts_come_back(tmp_path: Path) -> None:
    texts = ["", "a\nb", "保存", "\ud800 alone", "🎉"]
    with StoredTexts(tmp_path / "texts") as stored:
        stored.extend(texts)
        stored.flush()
        assert list(stored) == texts
        assert list(Chosen(stored, np.array([4, 0, 2]))) == ["🎉", "", "保存"]
        assert stored[1:3] == texts[1:3]
    assert not (tmp_path / "texts").exists()


def test_a_sample_does_not_depend_on_the_order() -> None:
    hashes = np.random.default_rng(0).permutation(5000).astype(np.uint64)
    drawn = []
    for order in (np.arange(5000), np.arange(5000)[::-1]):
        sample: SmallestHashes[int] = SmallestHashes(10)
        for part in np.array_split(order, 7):
            sample.offer(hashes[part], lambda place, part=part: int(part[place]))
        drawn.append(sample.drawn())
    assert drawn[0][0].tolist() == drawn[1][0].tolist() == sorted(hashes.tolist())[:10]
    assert drawn[0][1] == drawn[1][1]
