"""The baselines of several tasks, scored together."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from textmill.evaluate.baselines import score_baselines
from textmill.evaluate.linear_baseline import linear_predictions
from textmill.evaluate.scoring import evaluation_of
from textmill.tasks.settings import TaskSettings

TASKS = {
    "label": TaskSettings("en", kind="classification"),
    "answer": TaskSettings("en", kind="question_answering"),
    "wen": TaskSettings("zh", kind="question_answering"),
}
LABELS = {"label": ["film", "food"]}


def frame(rows: list[tuple[str, str, str]]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["task", "source", "target"]).assign(id=lambda table: [str(row) for row in table.index])


DEVELOPMENT = frame(
    [
        *(("answer", f"Who wrote the long book number {number} of the old library in the city?", "Ann") for number in range(30)),
        *(("wen", source, "安") for source in ("书是谁写的", "城市在哪里", "河流")),
        *(
            ("label", f"the {word} was good {number}", label)
            for number in range(4)
            for word, label in (("actor", "film"), ("soup", "food"))
        ),
    ]
)
TEST = frame(
    [
        ("label", "an actor", "film"),
        ("wen", "question: 书是谁写的？ context: 城市很老。这本书是安写的。河在流。", "安"),
        ("label", "a soup", "food"),
        ("answer", "question: Who wrote the book? context: The city is old. The book is from Ann, who wrote it.", "Ann"),
    ]
)


def test_a_baseline_is_asked_about_each_task_alone() -> None:
    """English is the most of the text, but the Chinese task is cut into characters."""
    metrics, predictions = score_baselines(evaluation_of(TEST, DEVELOPMENT, TASKS, LABELS, 100, 1), DEVELOPMENT)
    found = {(row.system, row.id): row.hypothesis for row in predictions.itertuples()}
    assert found["best_sentence", "1"] == "这本书是安写的。"
    assert found["best_sentence", "3"] == "The book is from Ann, who wrote it."
    assert found["majority", "0"] == "film" and found["majority", "1"] == "安"
    assert {name: set(each["tasks"]) for name, each in metrics.items()} == {
        "linear": {"label"},
        "translation_memory": set(TASKS),
        "majority": set(TASKS),
        "best_sentence": {"answer", "wen"},
    }


def test_the_linear_baseline_has_probabilities_and_its_outputs_are_the_labels() -> None:
    metrics, predictions = score_baselines(evaluation_of(TEST, DEVELOPMENT, TASKS, LABELS, 100, 1), DEVELOPMENT)
    own = predictions[predictions["system"] == "linear"]
    assert own["hypothesis"].tolist() == ["film", "food"]
    known, asked = (table[table["task"] == "label"].reset_index(drop=True) for table in (DEVELOPMENT, TEST))
    assert np.array(own["probabilities"].tolist()) == pytest.approx(linear_predictions(known, asked).probabilities)
    assert "brier" in metrics["linear"]["tasks"]["label"] and "brier" not in metrics["majority"]["tasks"]["label"]
