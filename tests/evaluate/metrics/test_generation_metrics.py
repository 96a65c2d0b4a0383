from __future__ import annotations

import math
import random
from dataclasses import replace

import numpy as np
import pytest
from salads import salad

from textmill.evaluate.metrics import METRICS
from textmill.evaluate.metrics.interface import Predictions, measure, predictions_of, resamplings
from textmill.evaluate.metrics.overlap import longest_overlaps


def score(name: str, language: str, texts: Predictions) -> float:
    metric = METRICS[name](language)
    return metric.score(metric.statistics(texts))


def outputs(*texts: str) -> Predictions:
    return predictions_of([""] * len(texts), texts, ["x"] * len(texts))


@pytest.mark.parametrize("order", [1, 2])
def test_distinct_counts_different_ngrams_of_all_outputs(order: int) -> None:
    texts = salad("zh", 6)
    texts = replace(texts, hypotheses=[each.replace("OpenAI", "").replace("ABC", "") for each in texts.hypotheses])
    texts = replace(texts, hypotheses=["".join(c for c in each if not c.isascii()) for each in texts.hypotheses])
    found = ["".join(text[start : start + order]) for text in texts.hypotheses for start in range(len(text) - order + 1)]
    assert score(f"distinct_{order}", "zh", texts) == pytest.approx(100 * len(set(found)) / len(found))


def test_distinct_of_known_texts() -> None:
    assert score("distinct_1", "en", outputs("a b a", "A c")) == pytest.approx(60)
    assert score("distinct_2", "en", outputs("a b a", "a b")) == pytest.approx(200 / 3)
    assert np.isnan(score("distinct_2", "en", outputs("a", "")))


def test_the_interval_of_distinct_holds_the_score_although_resampled_outputs_repeat() -> None:
    result = measure(METRICS["distinct_2"]("en"), salad("en", 7), resamplings(240, 200, 1))
    assert result is not None and result.low < result.score < result.high


def test_repetition_is_the_mean_share_of_repeated_4_grams() -> None:
    assert score("repetition", "en", outputs("a b c d e")) == 0
    assert score("repetition", "en", outputs("a a a a a a", "a b c d", "too short")) == pytest.approx(100 * (2 / 3) / 2)
    result = measure(METRICS["repetition"]("en"), outputs("a b c d", "a b"), resamplings(2, 100, 1))
    assert result is not None and result.num_segments == 1


def brute_overlap(text: str, others: list[str]) -> int:
    parts = {text[begin:end] for begin in range(len(text)) for end in range(begin + 1, len(text) + 1)}
    return max((len(part) for part in parts if any(part in other for other in others)), default=0)


@pytest.mark.parametrize("seed", range(30))
def test_the_longest_overlap_is_that_of_an_exhaustive_search(seed: int) -> None:
    generator = random.Random(seed)
    alphabet = "ab" if seed % 2 else "abcde"

    def text() -> str:
        return "".join(generator.choice(alphabet) for _ in range(generator.randint(0, 25)))

    texts, others = [text() for _ in range(8)], [text() for _ in range(6)]
    assert longest_overlaps(texts, others) == [brute_overlap(each, others) for each in texts]


@pytest.mark.parametrize("language", ["en", "zh"])
def test_verbatim_is_the_mean_longest_overlap_with_the_training_texts(language: str) -> None:
    texts = salad(language, 8, rows=200)
    expected = np.mean([brute_overlap(each, list(texts.training_texts)) for each in texts.hypotheses])
    assert score("verbatim", language, texts) == pytest.approx(expected)
    assert np.isnan(score("verbatim", language, replace(texts, training_texts=())))


def test_the_cost_of_the_references_per_byte_token_and_character() -> None:
    texts = replace(predictions_of(["", ""], ["", ""], ["北京", "ab"]), token_log_probabilities=[[-1.0, -2.0, -0.5], [-0.5]])
    assert score("bits_per_byte", "zh", texts) == pytest.approx(4 / math.log(2) / 8)
    assert score("nats_per_token", "zh", texts) == pytest.approx(1)
    assert score("character_perplexity", "zh", texts) == pytest.approx(math.e)
    assert np.isnan(score("bits_per_byte", "zh", replace(texts, token_log_probabilities=None)))


def test_replies_of_the_training_data_are_counted() -> None:
    texts = replace(outputs("hi", "yes", "no", "hi :)"), training_texts=["hi", "no"])
    assert score("training_replies", "en", texts) == 50
    assert np.isnan(score("training_replies", "en", outputs("hi")))
