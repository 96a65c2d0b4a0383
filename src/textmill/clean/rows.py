"""The part of cleaning that looks at one row at a time: repairs, filters, language. A function of the rows of a chunk alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

from textmill.clean.filters import Rule, chosen_filters
from textmill.clean.language import language_reasons
from textmill.clean.repairs import Pair, Repair, chosen_repairs, repaired
from textmill.clean.settings import FilterSettings, RepairSettings
from textmill.settings.languages import LanguageSettings


class RowPlan(NamedTuple):
    """What is done to each row."""

    repairs: RepairSettings
    filters: FilterSettings
    languages: LanguageSettings


class CleanedRows(NamedTuple):
    """Repaired pairs, their reasons (empty: passed), repairs (a sum of 2 ** place in REPAIRS), and what language_reasons counts."""

    pairs: list[Pair]
    reasons: list[str]
    repairs: list[int]
    languages: Counter[tuple[str, str]]


def clean_rows(sources: Sequence[str], targets: Sequence[str], plan: RowPlan) -> CleanedRows:
    """Repair every pair, then ask the filters, in order, until one rejects it."""
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
    return CleanedRows(pairs, reasons, changes, counts)


def _first_reason(pair: Pair, filters: list[tuple[str, Rule]]) -> str:
    for name, (score, limit) in filters:
        if score(pair) > limit:
            return name
    return ""


@cache
def _steps(plan: RowPlan) -> tuple[list[tuple[int, Repair]], bool, list[tuple[str, Rule]]]:
    """Compiled once a process: patterns and closures do not travel to workers."""
    return chosen_repairs(plan.repairs), not plan.repairs.chinese_punctuation, chosen_filters(plan.filters, plan.languages)
