"""Read and clean monolingual target text, and remove lines that are in the development set or overlap with the test set."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from textmill.back_translate.settings import BackTranslateSettings
from textmill.base.errors import UserError
from textmill.base.tables import PAIR_SCHEMA, read_table
from textmill.clean.cleaning import Outputs, clean_corpus
from textmill.clean.plans import TaskPlan, plans_of
from textmill.clean.settings import CleanSettings, FilterSettings
from textmill.collect.settings import CollectSettings, SourceSettings
from textmill.collect.sources import collect_sources
from textmill.split.decontamination import near_sources
from textmill.split.digests import recognized
from textmill.split.groups import compared_texts
from textmill.split.settings import OverlapSettings
from textmill.tasks.settings import Tasks
from textmill.text.hashing import hashes64


class Known(NamedTuple):
    """The data that the lines are compared with: development pairs, and the digest of the test set (split/digests.py)."""

    development: pd.DataFrame
    digest: pd.DataFrame
    overlap: OverlapSettings


class Lines(NamedTuple):
    """The lines to translate.

    table: columns of PAIR_SCHEMA, with the text as both source and target.
    read: counts of collect_sources.
    rejected: number of lines per reason.
    """

    table: pd.DataFrame
    read: dict[str, Any]
    rejected: Counter[str]


def new_lines(
    back_translate: BackTranslateSettings, collect: CollectSettings, clean: CleanSettings, tasks: Tasks, known: Known, folder: Path
) -> Lines:
    """Return the lines to translate, in the order of file and line. Without sources there are none.

    Every line is either in the table or counted in `rejected`, with one of these reasons:
    - a reason of the stage clean,
    - `known_target`: equal to a development target, or a near-duplicate of one (clean.near_duplicates),
    - a reason of `recognized`, for lines that overlap with the test set,
    - `not_chosen`: beyond back_translate.max_lines.

    folder: for temporary files, which are removed.
    Raises UserError as collect and clean do, and for a task without development pairs.
    """
    if not back_translate.sources:
        return Lines(pd.DataFrame(columns=pd.Index(PAIR_SCHEMA.names)), {"rows": 0, "skipped": 0, "bad": 0}, Counter())
    _require_tasks(back_translate, known.development)
    lines, read, rejected = _cleaned(back_translate, collect, clean, tasks, folder)
    reasons = np.array(_known_reasons(lines, known, clean.near_duplicates), dtype=object)
    fresh = np.flatnonzero(reasons == "")
    if 0 < back_translate.max_lines < len(fresh):
        order = np.argsort(hashes64(lines["target"].iloc[fresh]), kind="stable")
        reasons[fresh[order[back_translate.max_lines :]]] = "not_chosen"
    rejected.update(reasons[reasons != ""].tolist())
    return Lines(lines[reasons == ""].reset_index(drop=True), read, rejected)


def _require_tasks(back_translate: BackTranslateSettings, development: pd.DataFrame) -> None:
    for index, source in enumerate(back_translate.sources):
        if source.task not in set(development["task"]):
            raise UserError(
                f"params.yaml: back_translate.sources[{index}].task is '{source.task}', but no development pair has this task."
                " Name a task of collect.sources."
            )


def _cleaned(
    back_translate: BackTranslateSettings, collect: CollectSettings, clean: CleanSettings, tasks: Tasks, folder: Path
) -> tuple[pd.DataFrame, dict[str, Any], Counter[str]]:
    """Read and clean each line as a pair whose source and target are the line, so that all filters for one side apply."""
    sources = [
        SourceSettings(format="lines", path=source.path, target_path=source.path, task=source.task) for source in back_translate.sources
    ]
    one_sided = {name: replace(task, source_language=task.languages.target_language) for name, task in tasks.items()}
    plans = {
        name: TaskPlan(replace(plan.clean, filters=_one_sided(plan.clean.filters), duplicates="pair"), plan.languages)
        for name, plan in plans_of(clean, one_sided).items()
    }
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".lines-", dir=folder) as name, _naming_these_sources():
        read, kept = Path(name, "read.parquet"), Path(name, "kept.parquet")
        counts = collect_sources(replace(collect, sources=sources), one_sided, Path(name), read)
        outputs = Outputs(kept, Path(name, "rejected.parquet"), Path(name, "samples.json"))
        cleaned = clean_corpus(read, outputs, clean, plans)
        return read_table(kept), {count: counts[count] for count in ("rows", "skipped", "bad")}, +Counter(cleaned["rejected"])


def _one_sided(filters: FilterSettings) -> FilterSettings:
    """Switch off the filters that compare source and target, because both are the same line."""
    return replace(filters, copy=False, max_length_deviation=0.0, truncated=0.0, misaligned=0.0)


@contextmanager
def _naming_these_sources() -> Iterator[None]:
    """Name the right section in error messages of the readers, which say collect.sources."""
    try:
        yield
    except UserError as error:
        raise UserError(str(error).replace("collect.sources", "back_translate.sources")) from None


def _known_reasons(lines: pd.DataFrame, known: Known, near_duplicates: float) -> list[str]:
    targets = known.development.assign(source=known.development["target"])
    equal = np.isin(np.array(compared_texts(lines), dtype=object), np.array(compared_texts(targets), dtype=object))
    equal[near_sources(lines, targets, near_duplicates or 1.0)["row"].to_numpy()] = True
    test = recognized(lines["target"].tolist(), known.digest, "target", known.overlap)
    return [reason or ("known_target" if is_known else "") for reason, is_known in zip(test, equal.tolist(), strict=True)]
