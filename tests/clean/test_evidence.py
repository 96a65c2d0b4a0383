from __future__ import annotations

import itertools
from collections import defaultdict

import numpy as np
import pytest
from cleaning import CLEAN

from textmill.clean.evidence import Evidence, evidence_reasons, fit_evidence
from textmill.clean.lexicon import explained, fit_lexicon, numbered, words
from textmill.clean.repairs import Pair
from textmill.text.hashing import hashes64, hashes128

_WHO = {"Tom": "汤姆", "the boy": "男孩", "a girl": "女孩", "my uncle": "叔叔", "the king": "国王", "our dog": "小狗"}
_DOES = {"sees": "看见", "paints": "画", "carries": "搬", "washes": "洗", "sells": "卖", "breaks": "打破", "hides": "藏"}
_WHAT = {
    "the house": "房子",
    "an apple": "苹果",
    "the red car": "红色的车",
    "a letter": "信",
    "two chairs": "两把椅子",
    "the bread": "面包",
}
_WHEN = {"": "", " every morning": "每天早上", " in the garden": "在花园里", " for the queen": "为了女王"}
PAIRS = [
    Pair(f"{who[0].capitalize()}{who[1:]} {does} {what}{when}.", f"{who_zh}{when_zh}{does_zh}{what_zh}。")
    for (who, who_zh), (does, does_zh), (what, what_zh), (when, when_zh) in itertools.product(
        _WHO.items(), _DOES.items(), _WHAT.items(), _WHEN.items()
    )
]


def hashed(pairs: list[Pair]) -> np.ndarray:
    return hashes64(f"{pair.source}\0{pair.target}" for pair in pairs)


def fitted(pairs: list[Pair]) -> Evidence:
    hashes, first = np.unique(hashed(pairs), return_index=True)
    evidence = fit_evidence([pairs[place] for place in first], hashes, CLEAN.filters.wide_character_weight)
    assert evidence is not None
    return evidence


@pytest.fixture(scope="module")
def evidence() -> Evidence:
    wrong = [Pair(pair.source, PAIRS[-place - 1].target) for place, pair in enumerate(PAIRS[:30])]
    return fitted([*PAIRS, *wrong])


def test_real_pairs_pass_and_misaligned_and_truncated_ones_do_not(evidence: Evidence) -> None:
    settings = CLEAN.filters
    assert set(evidence_reasons(PAIRS, hashed(PAIRS), evidence, settings)) == {""}
    wrong = [Pair(pair.source, PAIRS[-place - 1].target) for place, pair in enumerate(PAIRS[:30])]  # the corpus holds these too
    reasons = evidence_reasons(wrong, hashed(wrong), evidence, settings)
    assert sum(reason != "" for reason in reasons) >= 27, reasons
    assert reasons.count("misaligned") >= 20
    cut = [Pair(pair.source, pair.target[:2]) for pair in PAIRS if len(pair.target) > 9]
    assert "" not in evidence_reasons(cut, hashed(cut), evidence, settings)
    long = [Pair(PAIRS[0].source, "".join(pair.target for pair in PAIRS[:8]))]
    assert evidence_reasons(long, hashed(long), evidence, settings) == ["length_unlikely"]


def test_a_pair_is_judged_alike_alone_and_among_others(evidence: Evidence) -> None:
    together = evidence_reasons(PAIRS[:50], hashed(PAIRS[:50]), evidence, CLEAN.filters)
    assert together == [evidence_reasons([pair], hashed([pair]), evidence, CLEAN.filters)[0] for pair in PAIRS[:50]]


def test_where_nothing_corresponds_nothing_is_rejected() -> None:
    generator = np.random.default_rng(1)
    replies = [Pair(PAIRS[first].source, PAIRS[second].target) for first, second in generator.integers(0, len(PAIRS), (900, 2))]
    replies = list(dict.fromkeys(replies))
    reasons = evidence_reasons(replies, hashed(replies), fitted(replies), CLEAN.filters)
    assert sum(reason == "misaligned" for reason in reasons) <= 0.01 * len(replies)


def test_no_model_is_fitted_to_too_few_pairs() -> None:
    hashes, first = np.unique(hashed(PAIRS[:100]), return_index=True)
    assert fit_evidence([PAIRS[place] for place in first], hashes, 2.0) is None


def test_the_lexicon_is_ibm_model_1() -> None:
    """Compared with the loops of the textbook (Koehn 2010, figure 4.3, without the empty word)."""
    sources = [words(pair.source) for pair in PAIRS[:60]]
    targets = [words(pair.target) for pair in PAIRS[:60]]
    lexicon = fit_lexicon(sources, targets)
    known_sources = [[word for word in text if word in lexicon.source_numbers] for text in sources]
    known_targets = [[word for word in text if word in lexicon.target_numbers] for text in targets]
    chance: dict[tuple[str, str], float] = defaultdict(lambda: 1.0)
    for _ in range(5):
        count: dict[tuple[str, str], float] = defaultdict(float)
        total: dict[str, float] = defaultdict(float)
        for source, target in zip(known_sources, known_targets, strict=True):
            for word in target:
                norm = sum(chance[each, word] for each in source)
                for each in source:
                    count[each, word] += chance[each, word] / norm
                    total[each] += chance[each, word] / norm
        chance = defaultdict(float, {key: value / total[key[0]] for key, value in count.items()})
    names = {number: word for word, number in lexicon.source_numbers.items()}
    target_names = {number: word for word, number in lexicon.target_numbers.items()}
    for key, probability in zip(lexicon.keys.tolist(), lexicon.forward.tolist(), strict=True):
        first, second = divmod(key, len(target_names))
        assert probability == pytest.approx(chance[names[first], target_names[second]], abs=1e-9)


def test_a_pair_is_scored_without_its_own_counts() -> None:
    odd = Pair("Zebra quux sees frobnicate zebra.", "斑马奇怪斑马。")
    pairs = [*PAIRS[:300], odd, Pair("Zebra quux", "国王"), Pair("The frobnicate", "斑马"), Pair("a", "奇怪")]
    lexicon = fit_lexicon([words(pair.source) for pair in pairs], [words(pair.target) for pair in pairs])
    sides = (numbered([words(odd.source)], lexicon.source_numbers), numbered([words(odd.target)], lexicon.target_numbers))
    own, other = (explained(lexicon, *sides, np.array([is_own])) for is_own in (True, False))
    assert own.forward[0] < other.forward[0]
    assert own.backward[0] < other.backward[0]


def test_hashes_are_the_same_everywhere_and_two_halves_are_independent() -> None:
    assert hashes64(["", "保存", "a\0b"]).tolist() == hashes64(["", "保存", "a\0b"]).tolist()
    both = hashes128(["保存", "a"])
    assert len(set(both.ravel().tolist())) == 4
