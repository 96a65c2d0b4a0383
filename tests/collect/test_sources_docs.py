"""Every example in the documentation of sources is run, and gives the pairs that stand below it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from collecting import collected, pairs
from ruamel.yaml import YAML

from textmill.collect.settings import CollectSettings, SourceSettings
from textmill.collect.sources import READERS
from textmill.settings.schema import build

BLOCK = re.compile(r"^ *```(\w+)(?: (data/raw/\S+))?\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
DOCUMENT = Path("docs/sources.md").read_text(encoding="utf-8")
BLOCKS = BLOCK.findall(DOCUMENT)
EXAMPLES = [
    (content, expected if kind == "pairs" else "")
    for (is_yaml, _, content), (kind, _, expected) in zip(BLOCKS, [*BLOCKS[1:], ("", "", "")], strict=True)
    if is_yaml == "yaml"
]


@pytest.fixture
def raw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files that the page shows, and one that cannot be shown."""
    (tmp_path / "data/raw").mkdir(parents=True)
    for _, path, content in BLOCKS:
        if path:
            (tmp_path / path).write_text(content, encoding="utf-8")
    pq.write_table(pa.table({"source": ["Open"], "target": ["打开"]}), tmp_path / "data/raw/mine.parquet")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(("example", "expected"), EXAMPLES, ids=[example.split("\n")[0] for example, _ in EXAMPLES])
def test_an_example_gives_the_pairs_below_it(raw: Path, example: str, expected: str) -> None:
    values: list[dict[str, Any]] = YAML(typ="safe").load(example)
    sources = [build(SourceSettings, value, "collect.sources") for value in values]
    if sources[0].wheel is not None:
        assert not expected  # needs a registry; the default corpus reads such sources
        return
    found = [f"{source} → {target}".replace("\n", "⏎") for source, target in pairs(collected(raw, *sources))]
    assert found == expected.rstrip("\n").split("\n")


def test_every_format_has_an_example_and_every_reason_is_explained() -> None:
    assert set(re.findall(r"format: (\w+)", DOCUMENT)) == set(READERS)
    code = "".join(
        path.read_text(encoding="utf-8")
        for path in [*Path("src/textmill/collect/readers").glob("*.py"), Path("src/textmill/collect/sources.py")]
    )
    reasons = set(re.findall(r'(?:Bad|Skipped)\(\w+(?:\.\w+)?, "(\w+)"', code)) | {
        "nul",
        "lone_surrogate",
        "untranslated",
        "fuzzy",
        "obsolete",
    }
    assert len(reasons) > 15
    assert not [reason for reason in reasons if f"`{reason}`" not in DOCUMENT]


@pytest.mark.parametrize("name", ["README.md", "README.zh-CN.md"])
def test_the_example_of_the_readme_is_right(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = Path(name).read_text(encoding="utf-8")
    (example,) = [YAML(typ="safe").load(content) for kind, _, content in BLOCK.findall(text) if kind == "yaml"]
    collect = build(CollectSettings, example["collect"], "collect")
    (tmp_path / "data/raw").mkdir(parents=True)
    (tmp_path / "data/raw/mine.tsv").write_text("source\ttarget\na\tb\n")
    monkeypatch.chdir(tmp_path)
    assert pairs(collected(tmp_path, *collect.sources)) == [("a", "b")]
    listed = re.search(r"format: tsv +# (.*)\n", text)
    assert listed is not None and set(listed[1].split(", ")) == set(READERS)
