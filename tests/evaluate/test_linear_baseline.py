from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from textmill.evaluate.baselines import BASELINES
from textmill.evaluate.linear_baseline import linear_predictions
from textmill.evaluate.metrics import METRICS
from textmill.evaluate.metrics.interface import Predictions

WORDS = {
    "en": {
        "sport": "goal match team coach win".split(),
        "food": "soup bread salt cook taste".split(),
        "law": "court judge case jury fine".split(),
    },
    "zh": {"sport": "进球 比赛 球队 教练 赢".split(), "food": "汤 面包 盐 厨师 味道".split(), "law": "法院 法官 案件 陪审 罚款".split()},
}


def rows(language: str, labels: int, count: int, seed: int, noise: float = 0.3) -> pd.DataFrame:
    """Texts with words of their label, and some words of any label."""
    generator = np.random.default_rng(seed)
    words = {label: WORDS[language][label] for label in list(WORDS[language])[:labels]}
    everything = [word for each in words.values() for word in each]
    found = []
    for row in range(count):
        label = list(words)[row % labels]
        text = [generator.choice(everything if generator.random() < noise else words[label]) for _ in range(4)]
        found.append(("" if language == "zh" else " ").join(text))
    return pd.DataFrame({"source": found, "target": [list(words)[row % labels] for row in range(count)], "task": ""})


@pytest.mark.parametrize(("language", "labels"), [("en", 2), ("en", 3), ("zh", 2), ("zh", 3)])
def test_labels_are_learned_with_calibrated_probabilities(language: str, labels: int) -> None:
    known, asked = rows(language, labels, 240, 1, noise=0.6), rows(language, labels, 240, 2, noise=0.6)
    found = linear_predictions(known, asked)
    assert BASELINES["linear"](known, asked) == found.outputs
    assert np.mean(asked["target"] == found.outputs) > 1 / labels + 0.1
    assert np.allclose(found.probabilities.sum(axis=1), 1)
    assert [found.labels[column] for column in found.probabilities.argmax(axis=1)] == found.outputs
    truth = [(label,) for label in asked["target"]]
    texts = Predictions(asked["source"].tolist(), found.outputs, truth, found.probabilities, found.labels)
    loss = METRICS["negative_log_likelihood"]("en")
    halved = replace(texts, label_probabilities=found.probabilities**3 / (found.probabilities**3).sum(axis=1, keepdims=True))
    assert loss.score(loss.statistics(texts)) < min(np.log(labels), loss.score(loss.statistics(halved)))


def test_a_row_has_a_label_of_its_own_task() -> None:
    topics, moods = rows("en", 2, 40, 1).assign(task="topic"), rows("en", 2, 40, 3).assign(task="mood")
    moods["target"] = moods["target"].map({"sport": "good", "food": "bad"})
    asked = pd.DataFrame({"source": ["goal match", "soup bread", "goal match"], "task": ["topic", "mood", "mood"]})
    found = linear_predictions(pd.concat([topics, moods]), asked)
    assert found.outputs == ["sport", "bad", "good"] and found.labels == ["bad", "food", "good", "sport"]
    assert found.probabilities[0, [0, 2]].tolist() == [0, 0] and np.allclose(found.probabilities.sum(axis=1), 1)


def test_few_rows_and_a_single_label_have_an_answer() -> None:
    few = pd.DataFrame({"source": ["goal", "soup"], "target": ["sport", "food"], "task": ""})
    assert linear_predictions(few, few).outputs == ["sport", "food"]
    one = linear_predictions(few.assign(target="sport"), few)
    assert one.outputs == ["sport", "sport"] and one.probabilities.tolist() == [[1], [1]]


def test_a_label_with_one_row_is_not_lost() -> None:
    known = pd.concat([rows("en", 2, 30, 1), pd.DataFrame({"source": ["court judge"], "target": ["law"], "task": ""})])
    found = linear_predictions(known, pd.DataFrame({"source": ["court judge", "goal team"], "task": ""}))
    assert found.outputs == ["law", "sport"] and np.isfinite(found.probabilities).all()
