"""The functions of the scripts of SQuAD v1.1 and CMRC 2018, written again from their definition, and known pairs."""

from __future__ import annotations

import re
import string

import pytest
from nltk.tokenize import word_tokenize
from salads import salad

from textmill.evaluate.metrics import METRICS
from textmill.evaluate.metrics.interface import predictions_of
from textmill.evaluate.metrics.question_answering import mixed_segments

CMRC_MARKS = ["-", ":", "_", "*", "^", "/", "\\", "~", "`", "+", "=", *"，。：？！“”；’《》", "……", *"·、「」（）－～『』"]


def squad_tokens(text: str) -> list[str]:
    text = re.sub("[" + re.escape(string.punctuation) + "]", "", text.lower())
    return re.sub(r"\b(?:a|an|the)\b", " ", text).split()


def squad(output: str, reference: str) -> tuple[float, float]:
    found, wanted = squad_tokens(output), squad_tokens(reference)
    common = sum(min(found.count(word), wanted.count(word)) for word in set(found))
    precision, recall = (common / len(found), common / len(wanted)) if common else (0, 0)
    return (2 * precision * recall / (precision + recall) if common else 0), float(found == wanted)


def cmrc_segments(text: str) -> list[str]:
    segments, run = [], ""
    for character in text.lower().strip():
        if character in CMRC_MARKS:
            continue
        if re.search(r"[\u4e00-\u9fa5]", character):
            segments += word_tokenize(run, preserve_line=True)
            segments.append(character)
            run = ""
        else:
            run += character
    return segments + word_tokenize(run, preserve_line=True)


def cmrc(output: str, reference: str) -> tuple[float, float]:
    found, wanted = cmrc_segments(output), cmrc_segments(reference)
    longest = max(
        (end - begin for begin in range(len(found)) for end in range(begin + 1, len(found) + 1) if contains(wanted, found[begin:end])),
        default=0,
    )
    bare = ["".join(character for character in text.lower().strip() if character not in CMRC_MARKS) for text in (output, reference)]
    if not longest:
        return 0, float(bare[0] == bare[1])
    precision, recall = longest / len(found), longest / len(wanted)
    return 2 * precision * recall / (precision + recall), float(bare[0] == bare[1])


def contains(texts: list[str], part: list[str]) -> bool:
    return any(texts[start : start + len(part)] == part for start in range(len(texts)))


@pytest.mark.parametrize(("language", "script"), [("en", squad), ("zh", cmrc)])
def test_the_scores_are_those_of_the_script_of_the_field(language: str, script) -> None:
    texts = salad(language, 3, references=3)
    pairs = list(zip(texts.hypotheses, texts.references, strict=True))
    for place, name in enumerate(("f1", "exact")):
        values = [max(script(output, reference)[place] for reference in references) for output, references in pairs]
        metric = METRICS[name](language)
        expected = 100 * sum(values) / len(values)
        assert 5 < expected < 95
        assert metric.score(metric.statistics(texts)) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    ("language", "output", "reference", "f1", "exact"),
    [
        ("en", "The Cat!", "cat", 100, 100),
        ("en", "in New York", "New York City", 200 / 3, 0),
        ("en", "an apple", "the pear", 0, 0),
        ("de", "Das Haus", "das Haus", 100, 100),
        ("zh", "《战国无双3》", "战国无双3", 100, 100),
        ("zh", "光荣和ω-force", "光荣和ω-force", 100, 100),
        ("zh", "北京大学", "大学北京", 50, 0),  # the longest common substring: 2 of 4; a character F1 gives 100
        ("zh", "2018年", "2018 年", 100, 0),  # a space is no punctuation
        ("zh", "等等…", "等等", 80, 0),  # the ellipsis is not removed: 2 of 3 segments
        ("zh", "。", "京", 0, 0),
    ],
)
def test_known_pairs(language: str, output: str, reference: str, f1: float, exact: float) -> None:
    texts = predictions_of([""], [output], [reference])
    for name, expected in (("f1", f1), ("exact", exact)):
        metric = METRICS[name](language)
        assert metric.score(metric.statistics(texts)) == pytest.approx(expected), name


def test_a_run_of_latin_letters_is_cut_into_words() -> None:
    assert mixed_segments("他在Google Inc工作3年") == ["他", "在", "google", "inc", "工", "作", "3", "年"]
