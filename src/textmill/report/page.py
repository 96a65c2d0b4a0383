"""The report: one page that opens without a network."""

from __future__ import annotations

import json
import math
import unicodedata
from collections.abc import Callable
from importlib import resources
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from textmill.report import labels, outputs, verdict
from textmill.report.changes import changed_settings
from textmill.report.plots import learning_curve, length_histogram, loss_range
from textmill.report.results import Results, TaskResults
from textmill.report.settings import ReportSettings
from textmill.report.slices import MIN_ROWS, OTHERS
from textmill.report.words import Words
from textmill.tasks.languages import LanguageSettings
from textmill.tasks.settings import Tasks, first_languages, model_name

_SHARES = ("exact_match", "placeholders_kept")  # metrics in per cent of the test examples
SECTIONS = ("results", "outputs", "slices", "training", "data", "cleaning", "size", "use", "settings", "origin")


def render_page(results: Results, tasks: Tasks, settings: ReportSettings) -> str:
    """HTML with styles, tables and plots inside; corpus text is escaped. A function of its arguments alone."""
    words, languages = Words(settings.language), first_languages(tasks)
    of_tasks = [_of_task(each, number, words) for number, each in enumerate(results.tasks, 1)]
    return (
        _environment()
        .get_template("report.html.jinja")
        .render(
            t=words,
            style=Markup(_resource("report.css")),
            title=_title(tasks, words),
            languages=languages,
            results=results,
            tasks=of_tasks,
            first=of_tasks[0],
            exported=of_tasks[0]["exported"],
            examples=sum(each.systems["exported"]["examples"] for each in results.tasks),
            shares=_SHARES,
            sections=[name for name in SECTIONS if name != "slices" or results.tasks[0].slices],
            warnings=verdict.warnings(results, words),
            min_slice_rows=MIN_ROWS,
            slice_name=_slice_name(words),
            changes=changed_settings(results.params, results.default_params),
            parameters=_parameters(results),
            **_plots(results, words),
            **_use(results, tasks, of_tasks[0]["headline"][-1]["source"]),
        )
    )


def _of_task(results: TaskResults, number: int, words: Words) -> dict[str, Any]:
    """What the page shows of one task. suffix: makes the ids of its sections unique. title: its name, if there are several."""
    ranked = outputs.ranked_outputs(results)
    baseline_rows, chain_rows = verdict.baseline_rows(results), verdict.chain_rows(results)
    sliced = next(iter(results.task.special.compared), results.metric)
    return {
        "results": results,
        "suffix": "" if number == 1 else f"-{number}",
        "title": f"{results.name}: " if results.name else "",
        "languages": results.task.languages,
        "exported": results.systems["exported"],
        "metrics": results.task.special.metrics,
        "metric_name": words.named("metric", results.metric),
        "sliced": sliced,
        "sliced_name": words.named("metric", sliced),
        "verdict": verdict.verdict(results, words),
        "top": _top(max(each[results.metric]["high"] for each in results.systems.values() if results.metric in each)),
        "headline": outputs.headline_samples(ranked),
        "baseline_rows": baseline_rows,
        "chain_rows": chain_rows,
        "compared": verdict.shown_metrics([*baseline_rows, *chain_rows]),
        "samples": outputs.output_samples(ranked),
        "worst": outputs.worst_outputs(ranked),
        "confusion": labels.confusion(results),
        "calibration": labels.calibration(results),
        **_slices(results),
    }


def _environment() -> Environment:
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, loader=FunctionLoader(_resource)
    )
    environment.filters["bytes"] = _bytes
    environment.filters["visible"] = _visible
    environment.filters["signed"] = verdict.signed
    environment.globals.update(outcome=verdict.outcome, tone=verdict.tone)
    return environment


def _resource(name: str) -> str:
    return resources.files("textmill.report").joinpath(name).read_text(encoding="utf-8")


def _names(languages: LanguageSettings, words: Words) -> dict[str, str]:
    return dict(zip(("source", "target"), (words.named("language", code) for code in languages.codes()), strict=True))


def _title(tasks: Tasks, words: Words) -> str:
    if len(tasks) == 1 and next(iter(tasks.values())).special.is_between_languages:
        return words.plain("title", **_names(first_languages(tasks), words))
    return words.plain("title_of_tasks", tasks=words.plain("listing").join(tasks))


def _slices(results: TaskResults) -> dict[str, Any]:
    """What the section on slices needs. spread: lowest and highest score of the sources with an interval."""
    every = [each for rows in results.slices.values() for each in rows]
    wide = [each.score for each in results.slices.get("source", []) if each.low is not None]
    return {
        "slice_top": _top(max((max(each.high or 0.0, each.score, each.baseline) for each in every), default=100)),
        "spread": (min(wide), max(wide)) if len(wide) > 1 else None,
    }


def _slice_name(words: Words) -> Callable[[str, str], str]:
    def name(grouping: str, of_slice: str) -> str:
        return words.plain("slice_others") if of_slice == OTHERS and grouping == "source" else words.named("slice", of_slice) or "–"

    return name


def _plots(results: Results, words: Words) -> dict[str, Any]:
    ends, clean = loss_range(results.histories), results.corpus["clean"]
    smoothing = results.params["train"].get("label_smoothing", 0.0)
    return {
        "curves": {name: learning_curve(rows, ends, _curve_text(name, rows, words)) for name, rows in results.histories.items()},
        "histograms": {
            side: length_histogram(clean[f"{side}_characters"], words.plain(f"lengths_of_{side}")) for side in ("source", "target")
        },
        "smoothing": smoothing,
        "smoothing_floor": smoothing_floor(smoothing, results.corpus["tokenizer"]["vocabulary_size"]),
    }


def smoothing_floor(epsilon: float, vocabulary: int) -> float:
    """The smallest label-smoothed loss, in nats per token: the entropy of a target smoothed towards uniform over `vocabulary` tokens."""
    if not epsilon:
        return 0.0
    right, other = 1 - epsilon + epsilon / vocabulary, epsilon / vocabulary
    return -right * math.log(right) - (vocabulary - 1) * other * math.log(other)


def _curve_text(name: str, rows: list[dict[str, float | None]], words: Words) -> str:
    """A learning curve in a sentence."""
    parts = [words.plain("curve_text", name=words.named("system", name))]
    for column in ("validation_loss", "train_loss"):
        found = [(row["step"], value) for row in rows if (value := row[column]) is not None]
        if found:
            numbers = {
                "first": f"{found[0][1]:.2f}",
                "start": f"{found[0][0]:.0f}",
                "last": f"{found[-1][1]:.2f}",
                "end": f"{found[-1][0]:.0f}",
            }
            parts.append(words.plain(f"curve_{column}", **numbers))
    return " ".join(parts)


def _use(results: Results, tasks: Tasks, source: str) -> dict[str, str]:
    """An example of a call, as Python."""
    name = results.tasks[0].name
    return {
        "example": json.dumps(source, ensure_ascii=False),
        "task_argument": f", task={json.dumps(name, ensure_ascii=False)}" if name else "",
        "model_name": model_name(results.params["export"]["name"], tasks),
    }


def _parameters(results: Results) -> dict[str, int]:
    """By system. CTranslate2 does not count them: an exported model has those of the pruned one."""
    counted = {name: system["parameters"] for name, system in results.models.items() if "parameters" in system}
    return counted | {"exported": results.export["parameters"]}


def _top(highest: float) -> int:
    """The end of an axis from 0: the next ten."""
    return min(max(math.ceil(highest / 10) * 10, 10), 100)


def _visible(text: str) -> str:
    """A text with its invisible characters as code points: a repair of them would show nothing."""
    return "".join(
        f"[U+{ord(each):04X}]" if unicodedata.category(each) in ("Cc", "Cf", "Cn", "Co") and each != "\n" else each for each in text
    )


def _bytes(size: float) -> str:
    return f"{size / 1e6:,.1f} MB" if size >= 1e6 else f"{size / 1e3:,.0f} kB"
