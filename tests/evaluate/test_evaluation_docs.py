"""docs/evaluation.md: its table of baselines is that of the kinds, and its program runs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
from toy import PAIRS

from textmill.evaluate.baselines import BASELINES
from textmill.evaluate.metrics import METRICS
from textmill.tasks.kinds import KINDS

PAGE = Path("docs/evaluation.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    return PAGE.partition(f"## {title}\n")[2].partition("\n## ")[0]


def test_every_metric_is_explained_and_the_deciding_ones_are_bold() -> None:
    explained = section("Metrics")
    assert not [name for name in METRICS if f"`{name}`" not in explained]
    assert set(re.findall(r"\*\*`(\w+)`\*\*", explained)) == {kind.metrics[0] for kind in KINDS.values()}


def test_the_table_of_baselines_says_which_kinds_have_them() -> None:
    rows = [line.strip("| ").split(" | ") for line in section("Baselines").split("\n") if re.match(r"\| `", line)]
    found = {name: kinds for names, kinds, _ in rows for name in re.findall(r"`(\w+)`", names)}
    assert set(found) == set(BASELINES)
    for name, kinds in found.items():
        having = [kind.name.replace("_", " ") for kind in KINDS.values() if name in kind.baselines]
        assert (having == kinds.split(", ")) if kinds != "all" else len(having) == len(KINDS), name


def test_the_program_of_the_page_runs(tmp_path: Path) -> None:
    (program,) = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    pairs = [*PAIRS[:4], ("Open the file that was saved before the last crash.", "打开文件")]
    test = pd.DataFrame(pairs, columns=["source", "target"]).assign(id=[str(row) for row in range(len(pairs))], task="")
    for folder, name, table in (
        ("data/split", "test", test),
        ("data/split", "development", test),
        ("data/evaluate/student", "predictions", test.rename(columns={"target": "hypothesis"})),
    ):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        table.to_parquet(tmp_path / folder / f"{name}.parquet")
    (tmp_path / "data/split/labels.json").write_text("{}")
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("'chrf': 100.0") == 2 and [line.split()[1] for line in done.stdout.splitlines()] == ["4", "1"]
