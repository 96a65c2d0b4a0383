"""What the comparisons say, in classes that the page colours and in words that it shows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from textmill.evaluate.significance import Difference
from textmill.report.results import Comparison, Results, TaskResults
from textmill.report.words import Words

SMALL_TEST_SET = 500  # rows; below, the interval of chrF is typically more than 3 points to each side


@dataclass(frozen=True)
class Box:
    """A message at the top of the page. tone: good, bad or warning."""

    tone: str
    text: Markup


@dataclass(frozen=True)
class Row:
    """Two systems, compared on all metrics. must_win: the first is worth nothing if it is not better."""

    first: str
    second: str
    question: str
    must_win: bool
    by_metric: dict[str, Difference]


def signed(value: float, digits: int = 1) -> str:
    """With a sign that is as wide as the plus."""
    return f"{value:+.{digits}f}".replace("-", "−")


def tone(result: Difference, must_win: bool) -> str:
    """good, bad or neutral: no significant loss is no bad news, but no significant gain over a baseline is."""
    if result.low > 0:
        return "good"
    return "bad" if result.high < 0 or must_win else "neutral"


def outcome(result: Difference) -> str:
    """better, worse or unclear: on which side of zero is the interval?"""
    return "better" if result.low > 0 else "worse" if result.high < 0 else "unclear"


def verdict(results: TaskResults, words: Words) -> Box:
    """Is the exported model better than every baseline that it was compared with?"""
    against = results.exported_against_baselines
    if not against:
        score = results.systems["exported"][results.metric]["score"]
        return Box("neutral", words("verdict_none", metric=words.named("metric", results.metric), score=f"{score:.2f}"))
    metrics = words.plain("and").join(dict.fromkeys(words.named("metric", each.metric) for each in against))
    failed = [each for each in against if each.result.low <= 0]
    if failed:
        listed = words.plain("listing").join(
            words.plain(
                f"verdict_{outcome(each.result)}", system=words.named("system", each.second), metric=words.named("metric", each.metric)
            )
            for each in failed
        )
        return Box("bad", words("verdict_bad", listed=listed))
    closest = min((each for each in against if each.metric == against[0].metric), key=lambda each: each.result.difference)
    return Box(
        "good",
        words(
            "verdict_good",
            metrics=metrics,
            closest=words.named("system", closest.second),
            difference=f"{closest.result.difference:.1f}",
            metric=words.named("metric", closest.metric),
            low=f"{closest.result.low:.1f}",
            high=f"{closest.result.high:.1f}",
        ),
    )


def warnings(results: Results, words: Words) -> list[Box]:
    """What a reader must know before the numbers."""
    boxes = [Box("warning", Markup("{}").format(text)) for text in results.corpus["clean"]["warnings"]]
    for each in results.tasks:
        examples, score = each.systems["exported"]["examples"], each.systems["exported"][each.metric]
        if examples < SMALL_TEST_SET:
            name = words.named("metric", each.metric)
            numbers = {"examples": f"{examples:,}", "low": f"{score['low']:.1f}", "high": f"{score['high']:.1f}"}
            text = words("small_test_set", metric=name, **numbers)
            boxes.append(Box("warning", Markup("{}: {}").format(each.name, text) if each.name else text))
    return boxes


def baseline_rows(results: TaskResults) -> list[Row]:
    """The exported model and the student against every baseline."""
    student = [each for each in results.comparisons if each.first == "student" and each.second in results.baselines]
    return _rows([*results.exported_against_baselines, *student], results.baselines)


def chain_rows(results: TaskResults) -> list[Row]:
    """Each step against the one before; the ensemble of one fold is that fold, and is not compared with it."""
    folds = [name for name in results.systems if name.startswith("fold-")]
    chain = [each for each in results.comparisons if each.second not in results.baselines]
    return _rows([each for each in chain if not (each.first == "ensemble" and len(folds) == 1)], results.baselines)


def _rows(comparisons: Iterable[Comparison], baselines: Sequence[str]) -> list[Row]:
    found: dict[tuple[str, str], dict[str, Difference]] = {}
    for each in comparisons:
        found.setdefault((each.first, each.second), {})[each.metric] = each.result
    return [Row(*pair, _question(*pair, baselines), pair[1] in baselines, by_metric) for pair, by_metric in found.items()]


def _question(first: str, second: str, baselines: Sequence[str]) -> str:
    """The key of the question that the comparison answers."""
    if second in baselines:
        return "question_baseline"
    return f"question_{first}_{'fold' if second.startswith('fold-') else second}"


def shown_metrics(rows: Sequence[Row]) -> list[str]:
    """The metrics on which anything was compared."""
    return list(dict.fromkeys(metric for row in rows for metric in row.by_metric))
