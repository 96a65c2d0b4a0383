"""Every example in docs/tasks.md is a valid params.yaml, and collect reads the rows that the page shows."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from collecting import collected
from ruamel.yaml import YAML

from textmill.collect.settings import SourceSettings
from textmill.serving.text_model import TextModel
from textmill.settings.schema import build
from textmill.settings.tree import check_settings
from textmill.tasks.kinds import KINDS

PAGE = Path("docs/tasks.md").read_text(encoding="utf-8")
FILES = re.findall(r"^```\w+ (data/raw/\S+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
EXAMPLES: list[dict[str, Any]] = [
    YAML(typ="safe").load(text) for text in re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: ", ".join(example["tasks"]))
def test_an_example_is_valid_and_its_rows_are_read(example: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_settings(example)
    (tmp_path / "data/raw").mkdir(parents=True)
    for path, content in FILES:
        (tmp_path / path).write_text(content, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    sources = [build(SourceSettings, source, "collect.sources") for source in example["collect"]["sources"]]
    rows = collected(tmp_path, *sources)
    assert set(rows["task"]) == {source.task for source in sources} and rows["source"].str.len().min() > 0


def test_every_kind_has_an_example_and_its_row_names_how_it_is_scored() -> None:
    assert [task["kind"] for example in EXAMPLES for task in example["tasks"].values()][: len(KINDS)] == list(KINDS)
    cells = {row[0].strip(" `"): row[1:] for row in (line.strip("|").split("|") for line in PAGE.split("\n") if line.startswith("| `"))}
    words = {"beam": "beam search", "sampling": "sampling", "labels": "most probable label"}
    cut = {"drop": "the pair is left out", "end": "cut at its end", "start": "cut at its start"}
    taught = {"outputs": "outputs", "probabilities": "label probabilities", "nothing": "nothing"}
    for name, kind in KINDS.items():
        reported, baselines, decoding, long_source, learns = (cell.strip() for cell in cells[name])
        assert (decoding, long_source) == (words[kind.method], cut["drop" if kind.long_sources == "drop" else kind.cut])
        assert learns.startswith(taught[kind.taught])
        assert len(baselines.split(", ")) == len(kind.baselines)
        assert len(reported.split(", ")) == len(kind.metrics) - 1


def test_every_method_that_the_page_calls_exists() -> None:
    called = set(re.findall(r"(?:model|\))\.(\w+)\(", PAGE))
    assert called >= {"generate", "stream", "classify", "reply"} and all(hasattr(TextModel, name) for name in called)
