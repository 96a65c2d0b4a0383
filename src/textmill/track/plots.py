"""Plots of a rebuild as pictures, for its run in MLflow, which shows no page but the report."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from textmill.base import paths
from textmill.base.files import read_json

_INCHES_PER_ROW, _DOTS_PER_INCH = 0.32, 110


def write_plots(folder: Path) -> list[Path]:
    """Write a picture of the scores of each task and one of the learning curves. Returns their paths; what is not there is left out."""
    return [*_scores(folder), *_curves(folder)]


def _scores(folder: Path) -> Iterator[Path]:
    """One picture per task: the deciding metric of every system, with its 95 % interval."""
    if not (paths.STATISTICS.is_file() and paths.SUMMARY.is_file()):
        return
    statistics, summary = read_json(paths.STATISTICS), read_json(paths.SUMMARY)
    for task, scores in statistics.get("tasks", {"": statistics}).items():
        metric = summary.get("tasks", {"": summary})[task]["metric"]
        systems = {name: each[metric] for name, each in scores["systems"].items() if metric in each}
        yield _saved(_of_systems(systems, metric, task), folder / f"scores{'-' if task else ''}{task.replace(' ', '-')}.png")


def _of_systems(systems: Mapping[str, Mapping[str, Any]], metric: str, task: str) -> Figure:
    figure = Figure(figsize=(7, 1.2 + _INCHES_PER_ROW * len(systems)), layout="constrained")
    axes = figure.subplots()
    for row, score in enumerate(systems.values()):
        axes.plot([score["low"], score["high"]], [row, row], color="tab:blue", linewidth=3, alpha=0.4)
        axes.plot(score["score"], row, "o", color="tab:blue")
    axes.set_yticks(range(len(systems)), list(systems))
    axes.invert_yaxis()
    axes.grid(axis="x", alpha=0.3)
    axes.set_xlabel(f"{metric}, with 95 % interval")
    axes.set_title(f"Test set{f', {task}' if task else ''}")
    return figure


def _curves(folder: Path) -> Iterator[Path]:
    """Validation loss of the fold models and training loss of the student and the pruned model."""
    histories = {f"fold {path.parent.name}": path for path in sorted(Path("models/train").glob("*/history.csv"))}
    histories |= {"student": paths.STUDENT_HISTORY, "pruned": paths.PRUNE_HISTORY}
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for name, path in histories.items():
        for column, style in (("validation_loss", "-"), ("train_loss", ":")):
            points = _points(path, column)
            if points:
                axes.plot(*zip(*points, strict=True), style, label=f"{name}, {column.replace('_', ' ')}")
    if axes.lines:
        axes.set_xlabel("step")
        axes.set_ylabel("loss, nats per token")
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small")
        yield _saved(figure, folder / "learning-curves.png")


def _points(path: Path, column: str) -> list[tuple[float, float]]:
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return [(float(row["step"]), float(row[column])) for row in csv.DictReader(file) if row.get(column)]


def _saved(figure: Figure, path: Path) -> Path:
    FigureCanvasAgg(figure)
    figure.savefig(path, dpi=_DOTS_PER_INCH)
    return path
