"""Plots as SVG text that takes its colours from the page: the same numbers give the same bytes, in a light and in a dark scheme."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

History = Sequence[Mapping[str, float | None]]
_WIDTH, _HEIGHT = 190, 140
_LEFT, _RIGHT, _TOP, _BOTTOM = 24, 10, 8, 24  # margins


@dataclass(frozen=True)
class Frame:
    """From numbers to places in the plot. right: the largest x. low, high: the ends of y."""

    right: float
    low: float
    high: float

    def x(self, value: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * value / self.right

    def y(self, value: float) -> float:
        return _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * (value - self.low) / (self.high - self.low)


def loss_range(histories: Mapping[str, History]) -> tuple[float, float]:
    """The ends of an axis that all learning curves fit on."""
    values = [value for rows in histories.values() for column in ("train_loss", "validation_loss") for _, value in _points(rows, column)]
    low, high = math.floor(min(values, default=0)), math.ceil(max(values, default=1))
    return (float(low), float(high if high > low else low + 1))


def learning_curve(rows: History, ends: tuple[float, float], alternative: str) -> Markup:
    """Training (dashed) and validation loss (solid) against the step. ends: of the axis, from `loss_range`. alternative: for who sees no plot."""
    frame = Frame(max((float(row["step"] or 0) for row in rows), default=1.0) or 1.0, *ends)
    parts = [_y_axis(frame, nice_ticks(*ends)), _x_labels({frame.x(step): _short(step) for step in nice_ticks(0, frame.right)})]
    for column in ("train_loss", "validation_loss"):
        if points := _points(rows, column):
            path = " ".join(f"{frame.x(step):.1f},{frame.y(value):.1f}" for step, value in points)
            parts.append(f'<polyline class="{column.removesuffix("_loss")}" points="{path}"/>')
    return _svg(parts, alternative)


def length_histogram(histogram: Mapping[str, Any], alternative: str) -> Markup:
    """Pairs by length in characters. histogram: `edges` and `counts`, one fewer."""
    counts, edges = list(histogram["counts"]), list(histogram["edges"])
    while len(counts) > 1 and not counts[-1]:
        counts.pop()
    ticks = nice_ticks(0, max(*counts, 1))
    frame = Frame(float(len(counts)), 0.0, ticks[-1] if ticks[-1] >= max(counts) else ticks[-1] + ticks[1])
    parts = [_y_axis(frame, ticks), _x_labels({frame.x(place): f"{edges[place]}" for place in range(0, len(counts), 4)})]
    for place, count in enumerate(counts):
        width = frame.x(1) - frame.x(0) - 2
        top = frame.y(count)
        parts.append(f'<rect class="bar" x="{frame.x(place) + 1:.1f}" y="{top:.1f}" width="{width:.1f}" height="{frame.y(0) - top:.1f}"/>')
    return _svg(parts, alternative)


def nice_ticks(low: float, high: float) -> list[float]:
    """Three to six round numbers from `low` on, up to `high`."""
    rough = (high - low) / 4
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * 0.999)
    first = math.ceil(low / step)
    return [step * place for place in range(first, math.floor(high / step * 1.000001) + 1)]


def _points(rows: History, column: str) -> list[tuple[float, float]]:
    """Steps and values; a step without a finite value is left out."""
    pairs = ((row["step"], row[column]) for row in rows)
    return [(float(step), float(value)) for step, value in pairs if step is not None and value is not None and math.isfinite(value)]


def _y_axis(frame: Frame, ticks: Sequence[float]) -> str:
    lines = [
        f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{frame.y(tick):.1f}" y2="{frame.y(tick):.1f}"/>'
        f'<text x="{_LEFT - 6}" y="{frame.y(tick) + 3.5:.1f}" text-anchor="end">{_short(tick)}</text>'
        for tick in ticks
    ]
    return "".join(lines)


def _x_labels(labels: Mapping[float, str]) -> str:
    return "".join(f'<text x="{place:.1f}" y="{_HEIGHT - 8}" text-anchor="middle">{label}</text>' for place, label in labels.items())


def _short(value: float) -> str:
    return f"{value / 1000:g}k" if value >= 1000 else f"{value:g}"


def _svg(parts: Sequence[str], alternative: str) -> Markup:
    return Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        _WIDTH, _HEIGHT, alternative, Markup("".join(parts))
    )
