"""Sources as tests write them: content in, collected rows out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from textmill.base.tables import read_table
from textmill.collect.settings import CollectSettings, SourceSettings
from textmill.collect.sources import collect_sources
from textmill.tasks.settings import TaskSettings


def collected(
    folder: Path, *sources: SourceSettings, max_row_bytes: int = 1_000_000, max_bad_share: float = 0.01, **more: Any
) -> pd.DataFrame:
    """The rows of `sources`; the metrics are in `.attrs`."""
    settings = CollectSettings(list(sources), max_row_bytes, max_bad_share)
    tasks = {name: TaskSettings("en", target_language="zh") for name in sorted({source.task for source in sources})}
    metrics = collect_sources(settings, tasks, folder / "wheels", folder / "out" / "pairs.parquet", **more)
    frame = read_table(folder / "out" / "pairs.parquet")
    assert frame["id"].is_unique and metrics["rows"] == len(frame) == sum(source["rows"] for source in metrics["sources"])
    frame.attrs = metrics
    return frame


def pairs(frame: pd.DataFrame) -> list[tuple[str, str]]:
    return list(zip(frame["source"], frame["target"], strict=True))


def counts(frame: pd.DataFrame, index: int = 0) -> dict[str, int]:
    """What was skipped or bad in a source, by reason."""
    report = frame.attrs["sources"][index]
    return report["skipped"] | {reason: each["rows"] for reason, each in report["bad"].items()}
