"""Clean a whole corpus in bounded memory, with a reason for every rejected row.

There are three passes, each in chunks:
1. repairs, filters and language checks, which see one row at a time;
2. learned filters, private data and duplicate keys, which need statistics of the corpus;
3. the output tables, in a stable order.

The result does not depend on the chunk boundaries or on which process works on a chunk.
"""

from __future__ import annotations

import tempfile
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import pandas as pd
import pyarrow as pa

from textmill.base.errors import UserError
from textmill.base.files import write_json
from textmill.base.progress import Progress
from textmill.base.tables import PAIR_SCHEMA, TableWriter, extended, num_rows, read_batches
from textmill.clean.counts import Counts
from textmill.clean.duplicates import DUPLICATE_REASONS, Duplicates, Keys, compared_text, duplicate_keys, find_duplicates
from textmill.clean.evidence import Evidence, evidence_reasons, fit_evidence
from textmill.clean.executors import Executor, executor
from textmill.clean.ordering import in_order, stable_ranks
from textmill.clean.privacy import private_data
from textmill.clean.repairs import Pair
from textmill.clean.rows import CleanedRows, RowPlan, clean_rows
from textmill.clean.samples import SmallestHashes
from textmill.clean.settings import CleanSettings, FilterSettings
from textmill.clean.stored_texts import StoredTexts
from textmill.settings.languages import LanguageSettings
from textmill.text.hashing import hashes64

Result = TypeVar("Result")
CHUNK_ROWS = 4096
# A row between passes: the original columns, the cleaned texts, the reason (empty: it still passes), and the repairs and private data
# found, each as a sum of 2 ** index in REPAIRS and KINDS.
_WORK_SCHEMA = extended(
    PAIR_SCHEMA,
    {"clean_source": pa.string(), "clean_target": pa.string(), "reason": pa.string(), "repairs": pa.int64(), "found": pa.int64()},
)
REJECTED_SCHEMA = extended(PAIR_SCHEMA, {"reason": pa.string()})


class Outputs(NamedTuple):
    """Output paths: tables of `kept` and `rejected` rows, and a JSON file with `samples` for each reason."""

    kept: Path
    rejected: Path
    samples: Path


def clean_corpus(collected: Path, outputs: Outputs, clean: CleanSettings, languages: LanguageSettings) -> dict[str, Any]:
    """Clean a table of pairs into `outputs`.

    Every row goes into one table: into `kept` after its repairs, or into `rejected` unchanged with a column `reason`.
    Returns `Counts.metrics` (clean/counts.py).
    Raises UserError if there is no row, or if no row passes.
    """
    outputs.kept.parent.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix=".clean-", dir=outputs.kept.parent) as name,
        executor(clean.workers, clean.scheduler) as work,
    ):
        folder = Path(name)
        counts = Counts(clean, languages)
        evidence = _clean_all_rows(collected, folder / "rows.parquet", clean, languages, work, counts)
        counts.fitted(evidence)
        duplicates = _judge_all_rows(folder / "rows.parquet", folder / "judged.parquet", clean, evidence, work)
        counts.duplicates(duplicates)
        _write(folder / "judged.parquet", duplicates, outputs, stable_ranks(collected), counts)
    write_json(outputs.samples, counts.samples())
    return counts.metrics()


def _clean_all_rows(
    collected: Path, rows: Path, clean: CleanSettings, languages: LanguageSettings, work: Executor, counts: Counts
) -> Evidence | None:
    """First pass: repair and filter each row, check its language, and fit the learned filters to the rows that pass."""
    sample: SmallestHashes[Pair] = SmallestHashes(clean.evidence_rows)
    plan = RowPlan(clean.repairs, clean.filters, languages)
    with TableWriter(rows, _WORK_SCHEMA) as writer:
        for frame, result in _mapped(work, clean_rows, collected, _texts, plan, "clean: rows"):
            counts.languages(result.languages)
            passed = [pair for pair, reason in zip(result.pairs, result.reasons, strict=True) if not reason]
            if clean.filters.learns():
                sample.offer(_content_hashes(passed), passed.__getitem__)
            writer.write(_with_results(frame, result))
    if writer.rows == 0:
        raise UserError(f"{collected}: contains no pairs. Name other sources in params.yaml, collect.sources.")
    if not clean.filters.learns():
        return None
    hashes, pairs = sample.drawn()
    return fit_evidence(pairs, hashes, clean.filters.wide_character_weight)


def _texts(frame: pd.DataFrame) -> tuple[Any, ...]:
    return _listed(frame["source"]), _listed(frame["target"])


def _with_results(frame: pd.DataFrame, result: CleanedRows) -> pd.DataFrame:
    return frame.assign(
        clean_source=[pair.source for pair in result.pairs],
        clean_target=[pair.target for pair in result.pairs],
        reason=result.reasons,
        repairs=result.repairs,
        found=0,
    )


class JudgePlan(NamedTuple):
    """Settings of the second pass.

    by_source: rows with equal sources are duplicates, whatever their targets. near: near-duplicates are removed too.
    """

    evidence: Evidence | None
    filters: FilterSettings
    actions: dict[str, str]
    by_source: bool
    near: bool


class JudgedRows(NamedTuple):
    """Pairs with private data masked, their reasons, the private data found (see `private_data`), and the keys for finding duplicates."""

    pairs: list[Pair]
    reasons: list[str]
    found: list[int]
    keys: Keys


def judge_rows(sources: list[str], targets: list[str], contexts: list[str], repairs: list[int], plan: JudgePlan) -> JudgedRows:
    """Apply the learned filters, look for private data, and compute duplicate keys, for rows that passed the first pass."""
    pairs = [Pair(*texts) for texts in zip(sources, targets, strict=True)]
    reasons = [""] * len(pairs)
    if plan.evidence is not None:
        reasons = evidence_reasons(pairs, _content_hashes(pairs), plan.evidence, plan.filters)
    masked, private, found = private_data(pairs, plan.actions)
    reasons = [first or second for first, second in zip(reasons, private, strict=True)]
    return JudgedRows(masked, reasons, found, duplicate_keys(masked, contexts, repairs, plan.by_source, plan.near))


def _judge_all_rows(rows: Path, judged: Path, clean: CleanSettings, evidence: Evidence | None, work: Executor) -> Duplicates:
    """Second pass: judge each row that passed the first one, then find the duplicates among the rows that still pass."""
    plan = JudgePlan(evidence, clean.filters, clean.privacy.actions(), clean.duplicates == "source", clean.near_duplicates > 0)
    keys: list[Keys] = []
    ties: list[np.ndarray] = []
    searched = clean.duplicates != "none"
    with TableWriter(judged, _WORK_SCHEMA) as writer, StoredTexts(judged.with_suffix(".texts")) as texts:
        for frame, result in _mapped(work, judge_rows, rows, _passed_texts, plan, "clean: corpus"):
            passed = np.flatnonzero(frame["reason"].to_numpy() == "")
            frame, stays = _with_judgement(frame, passed, result)
            if searched:
                keys.append(Keys(*(part[stays] if len(part) else part for part in result.keys)))
                ties.append(_origin_hashes(frame.iloc[passed[stays]]))
                if plan.near:
                    texts.extend(compared_text(result.pairs[row], plan.by_source) for row in stays)
            writer.write(frame)
        texts.flush()
        if not keys:
            return Duplicates(np.zeros(0, dtype=np.uint8), 0, 0, 0)
        together = Keys(*(np.concatenate(parts) for parts in zip(*keys, strict=True)))
        keys.clear()
        return find_duplicates(together, np.concatenate(ties), texts, clean.near_duplicates, work)


def _passed_texts(frame: pd.DataFrame) -> tuple[Any, ...]:
    passed = frame[frame["reason"] == ""]
    contexts = [f"{task}\0{split}" for task, split in zip(_listed(passed["task"]), _listed(passed["official_split"]), strict=True)]
    return _listed(passed["clean_source"]), _listed(passed["clean_target"]), contexts, passed["repairs"].tolist()


def _with_judgement(frame: pd.DataFrame, passed: np.ndarray, result: JudgedRows) -> tuple[pd.DataFrame, np.ndarray]:
    """Return the frame after the second pass, and the indices, among the passed rows, of those that still pass."""
    columns = {name: frame[name].to_numpy(dtype=object, copy=True) for name in ("clean_source", "clean_target", "reason", "found")}
    columns["clean_source"][passed] = [pair.source for pair in result.pairs]
    columns["clean_target"][passed] = [pair.target for pair in result.pairs]
    columns["reason"][passed] = result.reasons
    columns["found"][passed] = result.found
    return frame.assign(**columns), np.array([row for row, reason in enumerate(result.reasons) if not reason], dtype=np.int64)


def _write(judged: Path, duplicates: Duplicates, outputs: Outputs, ranks: np.ndarray | None, counts: Counts) -> None:
    """Third pass: write every row into one of the tables, in the order of the ranks."""
    frames = in_order(_with_duplicates(judged, duplicates.reason), ranks, _WORK_SCHEMA, judged.parent)
    with TableWriter(outputs.kept, PAIR_SCHEMA) as kept, TableWriter(outputs.rejected, REJECTED_SCHEMA) as rejected:
        for frame in frames:
            passed = (frame["reason"] == "").to_numpy()
            kept.write(frame[passed].assign(source=frame["clean_source"][passed], target=frame["clean_target"][passed]))
            rejected.write(frame[~passed])
            counts.judged(frame)
        assert kept.rows + rejected.rows == counts.rows_in(), "a row was lost"
        if not kept.rows:
            raise UserError(f"no pair of {counts.rows_in()} passed ({counts.listed()}). Correct the sources, or the settings of clean.")


def _with_duplicates(judged: Path, reason: np.ndarray) -> Iterator[pd.DataFrame]:
    names = np.array(["", *DUPLICATE_REASONS], dtype=object)
    start = 0
    for frame in read_batches(judged, CHUNK_ROWS):
        if len(reason):
            reasons = frame["reason"].to_numpy(dtype=object, copy=True)
            passed = np.flatnonzero(reasons == "")
            reasons[passed] = names[reason[start : start + len(passed)]]
            start += len(passed)
            frame = frame.assign(reason=reasons)
        yield frame


def _mapped(
    work: Executor,
    function: Callable[..., Result],
    table: Path,
    arguments: Callable[[pd.DataFrame], tuple[Any, ...]],
    constant: Any,
    description: str,
) -> Iterator[tuple[pd.DataFrame, Result]]:
    """Yield every chunk of a table with function(*arguments(chunk), constant), in order."""
    waiting: deque[pd.DataFrame] = deque()

    def chunks() -> Iterator[tuple[Any, ...]]:
        for frame in read_batches(table, CHUNK_ROWS):
            waiting.append(frame)
            yield arguments(frame)

    with Progress(description, num_rows(table), "pairs") as progress:
        for result in work.map(function, chunks(), constant):
            frame = waiting.popleft()
            yield frame, result
            progress.advance(len(frame))


def _content_hashes(pairs: list[Pair]) -> np.ndarray:
    return hashes64(f"{pair.source}\0{pair.target}" for pair in pairs)


def _origin_hashes(frame: pd.DataFrame) -> np.ndarray:
    return hashes64(f"{origin}\0{line}" for origin, line in zip(_listed(frame["origin"]), frame["line"].tolist(), strict=True))


def _listed(texts: pd.Series[str]) -> list[str]:
    """Return a column of texts as a list. Iterating over the column itself is several times slower (pandas 3.1)."""
    listed: list[str] = texts.to_numpy(dtype=object).tolist()
    return listed
