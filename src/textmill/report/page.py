"""The report: one page that opens without a network."""

from __future__ import annotations

import unicodedata
from importlib import resources
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from textmill.evaluate.metrics import METRICS
from textmill.report.plots import learning_curves, length_histograms, score_intervals
from textmill.report.results import BASELINES, Comparison, Results
from textmill.settings.languages import LanguageSettings
from textmill.text.placeholders import placeholders

_OUTPUT_SAMPLES = 5
_SHOWN_SYSTEMS = ("translation_memory", "ensemble", "student", "exported")


def render_page(results: Results, languages: LanguageSettings) -> str:
    """HTML with styles, tables and plots inside; corpus text is escaped. A function of its arguments alone."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["bytes"] = _bytes
    environment.filters["visible"] = _visible
    template = environment.from_string(resources.files("textmill.report").joinpath("report.html.jinja").read_text(encoding="utf-8"))
    clean = results.corpus["clean"]
    return template.render(
        languages=languages,
        results=results,
        metrics=list(METRICS),
        against_baselines=[each for each in results.comparisons if each.first == "student" and each.second in BASELINES],
        chain=[each for each in results.comparisons if each.second not in BASELINES],
        verdict=_verdict(results.comparisons),
        samples=_output_samples(results),
        shown_systems=_SHOWN_SYSTEMS,
        curves=Markup(learning_curves(results.histories)),
        lengths=Markup(length_histograms(clean["source_characters"], clean["target_characters"])),
        intervals=Markup(score_intervals(results.systems, "chrf")),
    )


def _verdict(comparisons: list[Comparison]) -> str:
    against = [each for each in comparisons if each.first == "student" and each.second in BASELINES]
    not_better = [f"{each.second} on {each.metric}" for each in against if each.result.low <= 0]
    if not not_better:
        return "The student beats every baseline on every metric; all 95 % intervals of the differences lie above zero."
    return f"The student is not shown to beat: {', '.join(not_better)}. The default settings or the corpus need work."


def _output_samples(results: Results) -> list[tuple[str, list[dict[str, Any]]]]:
    """Best, median and worst outputs by the student's sentence chrF, and some with placeholders."""
    table = results.predictions["student"][["source", "reference", "chrf"]].copy()
    for name in _SHOWN_SYSTEMS:
        table[name] = results.predictions[name]["hypothesis"]
    long_enough = table[table["source"].str.len() >= 20]
    ranked = (long_enough if len(long_enough) >= 3 * _OUTPUT_SAMPLES else table).sort_values("chrf", ascending=False, kind="stable")
    middle = len(ranked) // 2
    with_placeholders = table[[bool(placeholders(source)) for source in table["source"]]]
    parts = {
        "Best by the student's chrF": ranked.head(_OUTPUT_SAMPLES),
        "In the middle": ranked.iloc[middle : middle + _OUTPUT_SAMPLES],
        "Worst": ranked.tail(_OUTPUT_SAMPLES),
        "With placeholders": with_placeholders.head(_OUTPUT_SAMPLES),
    }
    return [(title, [{str(key): value for key, value in row.items()} for row in rows.to_dict("records")]) for title, rows in parts.items()]


def _visible(text: str) -> str:
    """A text with its invisible characters as code points: a repair of them would show nothing."""
    return "".join(
        f"[U+{ord(each):04X}]" if unicodedata.category(each) in ("Cc", "Cf", "Cn", "Co") and each != "\n" else each for each in text
    )


def _bytes(size: float) -> str:
    return f"{size / 1e6:,.2f} MB"
