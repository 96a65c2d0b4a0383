"""First pass of cleaning: repairs, filters and language checks, which depend on one row only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from typing import NamedTuple

from textmill.clean.filters import Rule, chosen_filters
from textmill.clean.language import language_reasons
from textmill.clean.plans import places_by_task, put
from textmill.clean.repairs import Pair, Repair, chosen_repairs, repaired
from textmill.clean.settings import FilterSettings, RepairSettings
from textmill.tasks.languages import LanguageSettings


class RowPlan(NamedTuple):
    """Settings of the first pass."""

    repairs: RepairSettings
    filters: FilterSettings
    languages: LanguageSettings


class CleanedRows(NamedTuple):
    """Result of the first pass.

    reasons: empty if the pair passed. repairs: a sum of 2 ** index in REPAIRS. languages: counts of `language_reasons`, by task.
    """

    pairs: list[Pair]
    reasons: list[str]
    repairs: list[int]
    languages: dict[str, Counter[tuple[str, str]]]


def clean_tasks(sources: Sequence[str], targets: Sequence[str], tasks: Sequence[str], plans: Mapping[str, RowPlan]) -> CleanedRows:
    """Repair and filter every pair by the plan of its task."""
    result = CleanedRows([Pair("", "")] * len(sources), [""] * len(sources), [0] * len(sources), {})
    for task, places in places_by_task(tasks):
        part = clean_rows([sources[place] for place in places], [targets[place] for place in places], plans[task], task)
        put(part.pairs, places, result.pairs)
        put(part.reasons, places, result.reasons)
        put(part.repairs, places, result.repairs)
        result.languages.update(part.languages)
    return result


def clean_rows(sources: Sequence[str], targets: Sequence[str], plan: RowPlan, task: str = "") -> CleanedRows:
    """Repair every pair of one task, and apply the filters in order until one rejects it."""
    repairs, quick, filters = _steps(plan)
    pairs, changes, reasons = [], [], []
    for source, target in zip(sources, targets, strict=True):
        pair, changed = repaired(Pair(source, target), repairs, quick)
        pairs.append(pair)
        changes.append(changed)
        reasons.append(_first_reason(pair, filters))
    passed = [row for row, reason in enumerate(reasons) if not reason]
    language, counts = language_reasons([pairs[row] for row in passed], plan.filters, plan.languages)
    for row, reason in zip(passed, language, strict=True):
        reasons[row] = reason
    return CleanedRows(pairs, reasons, changes, {task: counts})


def _first_reason(pair: Pair, filters: list[tuple[str, Rule]]) -> str:
    for name, (score, limit) in filters:
        if score(pair) > limit:
            return name
    return ""


@cache
def _steps(plan: RowPlan) -> tuple[list[tuple[int, Repair]], bool, list[tuple[str, Rule]]]:
    """Build the repairs and filters once per process, because closures cannot be sent to workers."""
    return chosen_repairs(plan.repairs), not plan.repairs.chinese_punctuation, chosen_filters(plan.filters, plan.languages)
