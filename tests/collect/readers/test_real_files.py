"""Real text in every format. The files are not part of the project: without them these tests are skipped."""

from __future__ import annotations

import csv
import gzip
import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from collecting import collected, counts, pairs

from textmill.collect.settings import SourceSettings

DATA = Path("../shared/data")
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"real data is not at {DATA}")


def rows_of(name: str) -> list[dict[str, Any]]:
    with gzip.open(DATA / name, "rt", encoding="utf-8", newline="\n") as file:
        return [json.loads(line) for line in file]


@pytest.mark.parametrize(
    "name",
    [
        "translation/tatoeba_en-zh/valid.jsonl.gz",
        "dialogue/lccc_base_zh/valid.jsonl.gz",
        "noise/injected_en-zh/all.jsonl.gz",
        "qa/qamr_en/valid.jsonl.gz",
    ],
)
def test_every_row_of_a_real_file_comes_out_as_it_is(tmp_path: Path, name: str) -> None:
    frame = collected(tmp_path, SourceSettings("jsonl", path=str(DATA / name), group_column="group"))
    expected = rows_of(name)
    assert pairs(frame) == [(row["source"], row["target"]) for row in expected]
    assert frame["group"].tolist() == [str(row["group"]) for row in expected]


def test_the_same_rows_in_other_formats_are_the_same_pairs(tmp_path: Path) -> None:
    rows = rows_of("noise/injected_en-zh/all.jsonl.gz")
    expected = [(row["source"], row["target"]) for row in rows]
    flat = [
        pair for pair in expected if not any(sign in side for side in pair for sign in "\t\n") and not any(s.endswith("\r") for s in pair)
    ]
    assert len(flat) > 0.9 * len(expected)
    written = io.StringIO(newline="")
    csv.writer(written).writerows([("source", "target"), *expected])
    (tmp_path / "csv").write_bytes(written.getvalue().encode())
    (tmp_path / "tsv").write_bytes("\n".join("\t".join(pair) for pair in [("source", "target"), *flat]).encode())
    for side, name in enumerate(("s", "t")):
        (tmp_path / name).write_bytes("\n".join(pair[side] for pair in flat).encode())
    table = {"source": [source for source, _ in expected], "target": [target for _, target in expected]}
    pq.write_table(pa.table(table), tmp_path / "parquet")
    for kind, wanted in (("csv", expected), ("parquet", expected), ("tsv", flat)):
        frame = collected(tmp_path, SourceSettings(kind, path=str(tmp_path / kind)))  # type: ignore[arg-type]
        assert pairs(frame) == wanted, kind
    lines = collected(tmp_path, SourceSettings("lines", path=str(tmp_path / "s"), target_path=str(tmp_path / "t")))
    assert pairs(lines) == [pair for pair in flat if "".join(pair).strip()]


def test_a_real_play_is_continued_exactly_once(tmp_path: Path) -> None:
    frame = collected(
        tmp_path, SourceSettings("text", path=str(DATA / "generation/tinyshakespeare_en/valid.txt.gz"), document_characters=2000)
    )
    with gzip.open(DATA / "generation/tinyshakespeare_en/valid.txt.gz", "rt", encoding="utf-8", newline="\n") as file:
        whole = file.read()
    joined = "".join(rows["source"].iloc[0] + "".join(rows["target"]) for _, rows in frame.groupby("group", sort=False))
    assert joined.replace("\n", "") == whole.replace("\n", "")
    assert frame["group"].nunique() > 20 and counts(frame) == {}


def test_real_questions_in_the_format_of_squad_are_the_same_as_in_rows(tmp_path: Path) -> None:
    rows = rows_of("qa/cmrc2018_zh/trial.jsonl.gz")
    questions = []
    for row in rows:
        question, context = row["source"].removeprefix("question: ").split(" context: ", 1)
        qas = [{"id": row["id"], "question": question, "answers": [{"text": row["target"], "answer_start": 0}]}]
        questions.append({"context": context, "qas": qas})
    (tmp_path / "x").write_text(json.dumps({"data": [{"paragraphs": questions}]}, ensure_ascii=False), encoding="utf-8")
    frame = collected(tmp_path, SourceSettings("squad", path=str(tmp_path / "x")))
    assert pairs(frame) == [(row["source"], row["target"]) for row in rows]


def test_real_dialogues_are_the_same_as_turns_and_as_rows(tmp_path: Path) -> None:
    rows = rows_of("dialogue/lccc_base_zh/test.jsonl.gz")
    dialogues: dict[str, list[str]] = {}
    for row in rows:
        dialogues.setdefault(row["group"], row["source"].split("\n")[:1]).append(row["target"])
    (tmp_path / "x").write_text("\n".join(json.dumps(turns) for turns in dialogues.values()), encoding="utf-8")
    frame = collected(tmp_path, SourceSettings("conversations", path=str(tmp_path / "x"), context_turns=4, turn_separator="|\n"))
    assert [(source.replace("|\n", "\n"), target) for source, target in pairs(frame)] == [(row["source"], row["target"]) for row in rows]
