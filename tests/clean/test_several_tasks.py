"""Tasks side by side: each is cleaned by its own settings, and a published test set stays as it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from cleaning import CLEAN, EN_ZH, Cleaned, frame

from textmill.base.files import read_json
from textmill.base.tables import PAIR_SCHEMA, read_table, write_table
from textmill.clean.cleaning import Outputs, clean_corpus
from textmill.clean.plans import plans_of
from textmill.tasks.settings import TaskSettings

TASKS = {
    "answer": TaskSettings("en", kind="question_answering"),
    "label": TaskSettings("en", kind="classification"),
    "translate": TaskSettings("en", target_language="zh"),
}


def cleaned(rows: pd.DataFrame, folder: Path) -> Cleaned:
    outputs = Outputs(folder / "kept.parquet", folder / "rejected.parquet", folder / "samples.json")
    write_table(folder / "pairs.parquet", rows, PAIR_SCHEMA)
    metrics = clean_corpus(folder / "pairs.parquet", outputs, CLEAN, plans_of(CLEAN, TASKS))
    written = tuple(path.read_bytes() for path in outputs)
    return Cleaned(read_table(outputs.kept), read_table(outputs.rejected), metrics, read_json(outputs.samples), written)


def test_each_task_has_its_own_filters_and_duplicates(tmp_path: Path) -> None:
    context = "The committee met on Monday to talk about the budget for the schools and the roads of the county. " * 3
    rows = frame(
        [
            (f"question: Who met? context: {context}", "The committee"),
            (f"question: When? context: {context}", "on Monday"),  # nearly the same source, another question
            ("What is 23rd?", "NUM"),
            ("What is 23rd?", "DESC"),  # the same text with another label
            ("What is 3rd?", "NUM"),  # no near-duplicate
            ("Save the file", "Save the file"),
            ("Save the file {0}", "保存文件"),
            ("Open the file", "打开文件"),
        ],
        task=["answer"] * 2 + ["label"] * 3 + ["translate"] * 3,
    )
    result = cleaned(rows, tmp_path)
    assert result.rejected[["target", "reason"]].to_numpy().tolist() in (
        [["NUM", "duplicate"], ["Save the file", "copy"], ["保存文件", "placeholder_mismatch"]],
        [["DESC", "duplicate"], ["Save the file", "copy"], ["保存文件", "placeholder_mismatch"]],
    )


def test_rows_of_a_published_test_set_are_never_changed_or_dropped_and_counted(tmp_path: Path) -> None:
    texts = [
        ("Open  the file ", "打开文件"),
        ("same", "same"),
        ("same", "same"),
        ("\ufffd damaged", "坏"),
        ("mail a@b.com", "邮件 a@b.com"),
        ("fine text", "好文本"),
    ]
    rows = frame(texts, task="translate", official_split=["test"] * 5 + ["train"])
    result = cleaned(rows, tmp_path)
    kept = result.kept[result.kept["official_split"] == "test"]
    assert list(zip(kept["source"], kept["target"], strict=True)) == texts[:5] and result.rejected.empty
    assert result.metrics["official_test"] == {"rows": 5, "changed": 2, "rejected: copy": 2, "rejected: damaged": 1}
    assert result.metrics["rows_out"] == 6


def test_the_bytes_do_not_depend_on_the_tasks_beside(tmp_path: Path) -> None:
    """A mixture gives each task what it has alone."""
    generator = np.random.default_rng(0)
    words = ["open", "save", "file", "window", "print", "close"]
    rows = frame([(" ".join(generator.choice(words, 4)), "打开文件" * (number % 3 + 1)) for number in range(300)], task="translate")
    other = frame([(" ".join(generator.choice(words, 4)), "yes") for _ in range(200)], task="label").assign(
        id=lambda table: "1" + table["id"]
    )
    both = pd.concat([rows, other]).sample(frac=1, random_state=1).reset_index(drop=True)
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    alone, mixed = cleaned(rows, tmp_path / "one"), cleaned(both, tmp_path / "two")
    ids = set(mixed.kept["id"][mixed.kept["task"] == "translate"])
    assert ids == set(alone.kept["id"]) and 0 < len(ids) < 300


def test_one_plan_is_what_the_section_says() -> None:
    assert plans_of(CLEAN, {"translate": TASKS["translate"]}) == {"": (CLEAN, EN_ZH)}
