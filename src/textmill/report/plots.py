"""Plots as SVG text: the same numbers give the same bytes."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
from matplotlib.figure import Figure

_STYLE: Any = {
    "svg.hashsalt": "textmill",  # element ids are random without it
    "svg.fonttype": "none",  # text stays text
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
}
_COLOURS = ("#3367b5", "#d9822b", "#4a9b5e", "#b5485d", "#7a5ca8", "#6b7280")


def learning_curves(histories: Mapping[str, Sequence[Mapping[str, float | None]]]) -> str:
    """Training (dashed) and validation loss (solid) against the step, a colour a model."""
    figure = Figure(figsize=(7.5, 3.6), layout="constrained")
    axes = figure.add_subplot()
    for (name, rows), colour in zip(histories.items(), _COLOURS * 4, strict=False):
        steps = _numbers(rows, "step")
        axes.plot(steps, _numbers(rows, "train_loss"), linestyle="--", color=colour, linewidth=1, label=f"{name}, training")
        if any(row["validation_loss"] is not None for row in rows):
            axes.plot(steps, _numbers(rows, "validation_loss"), color=colour, linewidth=2, label=f"{name}, validation")
    axes.set(xlabel="step", ylabel="loss (nats per token)")
    axes.legend(fontsize=8, frameon=False, ncols=2)
    return _svg(figure)


def length_histograms(source: Mapping[str, Any], target: Mapping[str, Any]) -> str:
    """Pairs by length in characters, source and target side by side."""
    figure = Figure(figsize=(7.5, 2.8), layout="constrained")
    axes = figure.add_subplot()
    labels = [f"{low}–{high - 1}" for low, high in zip(source["edges"], source["edges"][1:], strict=False)]
    places = range(len(labels))
    axes.bar([place - 0.2 for place in places], source["counts"], width=0.4, color=_COLOURS[0], label="source")
    axes.bar([place + 0.2 for place in places], target["counts"], width=0.4, color=_COLOURS[1], label="target")
    axes.set_xticks(list(places), labels, rotation=45, ha="right", fontsize=8)
    axes.set(xlabel="characters", ylabel="pairs")
    axes.legend(frameon=False)
    return _svg(figure)


def score_intervals(systems: Mapping[str, Mapping[str, Any]], metric: str) -> str:
    """A dot and its 95 % interval a system."""
    figure = Figure(figsize=(7.5, 0.6 + 0.3 * len(systems)), layout="constrained")
    axes = figure.add_subplot()
    names = list(systems)
    for place, name in enumerate(names):
        result = systems[name][metric]
        axes.plot([result["low"], result["high"]], [place, place], color=_COLOURS[0], linewidth=2)
        axes.plot([result["score"]], [place], marker="o", color=_COLOURS[0])
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set(xlabel=metric)
    axes.grid(axis="x", alpha=0.3)
    return _svg(figure)


def _numbers(rows: Sequence[Mapping[str, float | None]], column: str) -> list[float]:
    """A column of a learning curve; what has no value is a gap."""
    return [float("nan") if row[column] is None else float(row[column] or 0.0) for row in rows]


def _svg(figure: Figure) -> str:
    written = io.StringIO()
    with matplotlib.rc_context(_STYLE):
        figure.savefig(written, format="svg", metadata={"Date": None, "Creator": None}, transparent=True)
    text = written.getvalue()
    return text[text.index("<svg") :]
