"""Monolingual target text: read, cleaned like one side of a pair, without what development or test set hold already."""

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
from textmill.clean.settings import CleanSettings
from textmill.collect.settings import CollectSettings, SourceSettings
from textmill.collect.sources import collect_sources
from textmill.settings.languages import LanguageSettings
from textmill.split.decontamination import near_sources
from textmill.split.digests import recognized
from textmill.split.groups import compared_texts
from textmill.split.settings import OverlapSettings
from textmill.text.hashing import hashes64


class Known(NamedTuple):
    """What the text is compared with: the development pairs, and the digest of the test set (split/digests.py)."""

    development: pd.DataFrame
    digest: pd.DataFrame
    overlap: OverlapSettings


class Lines(NamedTuple):
    """table: columns of PAIR_SCHEMA, the text as source and target. read: what collect_sources counted. rejected: reason to lines."""

    table: pd.DataFrame
    read: dict[str, Any]
    rejected: Counter[str]


def new_lines(back_translate: BackTranslateSettings, collect: CollectSettings, clean: CleanSettings, known: Known, folder: Path) -> Lines:
    """The lines to translate, in the order of file and line; none without sources.

    Every line read is in the table or in `rejected`: as a reason of clean, as `known_target` (equal to a development target,
    or near it as `clean.near_duplicates` says), as one of `recognized`, or as `not_chosen` because of max_lines.
    folder: for intermediate files, which are removed. Raises UserError as collect and clean do, and for a task without development pairs.
    """
    if not back_translate.sources:
        return Lines(pd.DataFrame(columns=pd.Index(PAIR_SCHEMA.names)), {"rows": 0, "skipped": 0, "bad": 0}, Counter())
    _require_tasks(back_translate, known.development)
    lines, read, rejected = _cleaned(back_translate, collect, clean, folder)
    reasons = np.array(_known_reasons(lines, known, clean.near_duplicates), dtype=object)
    fresh = np.flatnonzero(reasons == "")
    if 0 < back_translate.max_lines < len(fresh):
        order = np.argsort(hashes64(lines["target"].iloc[fresh]), kind="stable")
        reasons[fresh[order[back_translate.max_lines :]]] = "not_chosen"
    rejected.update(reasons[reasons != ""].tolist())
    return Lines(lines[reasons == ""].reset_index(drop=True), read, rejected)


def _require_tasks(back_translate: BackTranslateSettings, development: pd.DataFrame) -> None:
    for place, source in enumerate(back_translate.sources):
        if source.task not in set(development["task"]):
            raise UserError(
                f"params.yaml: back_translate.sources[{place}].task is '{source.task}', and no development pair is of this task."
                " Name a task of collect.sources."
            )


def _cleaned(
    back_translate: BackTranslateSettings, collect: CollectSettings, clean: CleanSettings, folder: Path
) -> tuple[pd.DataFrame, dict[str, Any], Counter[str]]:
    """A line is read and cleaned as a pair of itself and itself, so that everything that looks at one side does its work."""
    sources = [
        SourceSettings(format="lines", path=source.path, target_path=source.path, task=source.task) for source in back_translate.sources
    ]
    # Off is what compares two sides: they are equal here.
    filters = replace(clean.filters, copy=False, max_length_deviation=0, truncated=0, misaligned=0)
    language = LanguageSettings(collect.target_language, collect.target_language)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".lines-", dir=folder) as name, _naming_these_sources():
        read, kept = Path(name, "read.parquet"), Path(name, "kept.parquet")
        counts = collect_sources(replace(collect, sources=sources), Path(name), read)
        outputs = Outputs(kept, Path(name, "rejected.parquet"), Path(name, "samples.json"))
        cleaned = clean_corpus(read, outputs, replace(clean, filters=filters, duplicates="pair"), language)
        return read_table(kept), {count: counts[count] for count in ("rows", "skipped", "bad")}, +Counter(cleaned["rejected"])


@contextmanager
def _naming_these_sources() -> Iterator[None]:
    """The messages of the readers say where the wrong setting usually stands: under collect."""
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
