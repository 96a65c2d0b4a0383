from __future__ import annotations

import numpy as np
import pytest
from rouge_score.rouge_scorer import RougeScorer
from salads import salad

from textmill.evaluate.metrics import METRICS
from textmill.evaluate.metrics.interface import Predictions, predictions_of
from textmill.evaluate.sentences import sentences

KINDS = {"rouge_1": "rouge1", "rouge_2": "rouge2", "rouge_l": "rougeL", "rouge_lsum": "rougeLsum"}


def score(name: str, language: str, texts: Predictions) -> float:
    metric = METRICS[name](language)
    return metric.score(metric.statistics(texts))


@pytest.mark.parametrize("name", KINDS)
def test_english_rouge_is_that_of_rouge_score_with_stemming(name: str) -> None:
    texts = salad("en", 4, references=3)
    scorer = RougeScorer([KINDS[name]], use_stemmer=True)
    cut = (lambda text: "\n".join(sentences(text))) if name == "rouge_lsum" else str
    pairs = zip(texts.hypotheses, texts.references, strict=True)
    values = [scorer.score_multi([cut(each) for each in wanted], cut(output))[KINDS[name]].fmeasure for output, wanted in pairs]
    assert score(name, "en", texts) == pytest.approx(100 * np.mean(values), abs=1e-9)
    assert "stemmer:porter" in METRICS[name]("en").signature and "stemmer:no" in METRICS[name]("zh").signature


def as_letters(text: str, letters: dict[str, str]) -> str:
    """The text with one invented Latin word per token, which rouge-score's own tokenizer can read."""
    return " ".join(letters.setdefault(character, f"x{len(letters)}") for character in text if character.strip())


@pytest.mark.parametrize("name", ["rouge_1", "rouge_2", "rouge_l"])
def test_chinese_rouge_is_rouge_over_characters(name: str) -> None:
    texts = salad("zh", 5, references=1)
    bare = [["".join(each for each in text if not each.isascii()) for text in side] for side in (texts.hypotheses, texts.first_references)]
    letters: dict[str, str] = {}
    scorer = RougeScorer([KINDS[name]], use_stemmer=False)
    values = [
        scorer.score(as_letters(reference, letters), as_letters(output, letters))[KINDS[name]].fmeasure
        for output, reference in zip(*bare, strict=True)
    ]
    found = score(name, "zh", predictions_of([""] * len(values), *bare))
    assert 20 < found < 95 and found == pytest.approx(100 * np.mean(values), abs=1e-9)


@pytest.mark.parametrize("language", ["zh", "ja", "ru", "en"])
@pytest.mark.parametrize("name", KINDS)
def test_identical_texts_score_100(name: str, language: str) -> None:
    text = {
        "zh": "今天，北京下雨了。明天晴！",
        "ja": "今日は雨です。",
        "ru": "Сегодня идёт дождь. Завтра нет.",
        "en": "It rains. No more.",
    }[language]
    assert score(name, language, predictions_of([""], [text], [text])) == pytest.approx(100)


def test_the_share_that_is_copied_counts_4_grams_of_the_source() -> None:
    source = "one two three four five six"
    assert score("copied", "en", predictions_of([source], ["One two three four nine"], ["x"])) == 50
    assert score("copied", "en", predictions_of([source] * 2, ["five six", "six five"], ["x"] * 2)) == 50
    assert score("copied", "zh", predictions_of(["北京今天下雨"], ["今天下雨"], ["x"])) == 100
    assert np.isnan(score("copied", "en", predictions_of([source], [""], ["x"])))
