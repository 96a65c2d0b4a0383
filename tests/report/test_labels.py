from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest

from textmill.evaluate.scoring import Outputs, evaluation_of, score_outputs
from textmill.report.labels import calibration, confusion
from textmill.report.results import TaskResults, task_results
from textmill.tasks.settings import TaskSettings

TASK = TaskSettings("en", kind="classification")
LABELS = ["bad", "good"]


@pytest.fixture
def results() -> TaskResults:
    """Ten rows: of five bad ones, two are taken for good; all good ones are right. The label given has 0.8 or 0.6."""
    truth = ["bad"] * 5 + ["good"] * 5
    outputs = ["good"] * 2 + ["bad"] * 3 + ["good"] * 5
    given = [0.6] * 2 + [0.8] * 8
    test = pd.DataFrame({"id": list("abcdefghij"), "source": [f"text {row}" for row in range(10)], "target": truth, "task": ""})
    test = test.assign(origin="f", line=range(10))
    probabilities = [[1 - p, p] if output == "good" else [p, 1 - p] for output, p in zip(outputs, given, strict=True)]
    evaluation = evaluation_of(test, test, {"mood": TASK}, {"": LABELS}, 100, 1)
    metrics, table = score_outputs(evaluation, Outputs(outputs, probabilities))
    names = ("fold-0", "ensemble", "student", "pruned", "exported")
    systems = {name: metrics | {"size_bytes": 1} for name in names} | dict.fromkeys(TASK.special.baselines, metrics)
    found = task_results("", TASK, test, systems, dict.fromkeys(systems, table), 100, 1)
    return replace(found, labels=LABELS)


def test_the_table_of_labels_counts_every_row_once(results: TaskResults) -> None:
    found = confusion(results)
    assert found is not None and found.labels == LABELS
    assert found.rows == [("bad", 5, [(3, 0.6), (2, 0.4)]), ("good", 5, [(0, 0.0), (5, 1.0)])]


def test_the_bins_of_the_calibration_have_confidence_and_accuracy(results: TaskResults) -> None:
    assert [(each.rows, round(each.confidence), round(each.accuracy)) for each in calibration(results)] == [(2, 60, 0), (8, 80, 100)]


def test_other_kinds_and_very_many_labels_have_no_table(results: TaskResults) -> None:
    dialogue = replace(results, task=TaskSettings("en", kind="dialogue"))
    assert confusion(dialogue) is None and calibration(dialogue) == []
    table = results.predictions["exported"]
    many = pd.concat([table.assign(reference=f"label {number}") for number in range(31)], ignore_index=True)
    assert confusion(replace(results, predictions={"exported": many})) is None
