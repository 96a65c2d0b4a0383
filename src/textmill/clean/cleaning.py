"""Clean a whole corpus in bounded memory, with a reason for every rejected row.

There are three passes, each in chunks:
1. repairs, filters and language checks, which see one row at a time;
2. learned filters, private data and duplicate keys, which need statistics of the corpus;
3. the output tables, in a stable order.

Each task is cleaned with its own settings and languages. Rows of an official test set are never changed and never rejected; what
would have been done to them is counted.
The result does not depend on the chunk boundaries or on which process works on a chunk.
"""

from __future__ import annotations

import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Mapping
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
from textmill.clean.plans import Plans, places_by_task, put
from textmill.clean.privacy import private_data
from textmill.clean.repairs import Pair
from textmill.clean.rows import CleanedRows, RowPlan, clean_tasks
from textmill.clean.samples import SmallestHashes
from textmill.clean.settings import CleanSettings, FilterSettings
from textmill.clean.stored_texts import StoredTexts
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


def clean_corpus(collected: Path, outputs: Outputs, clean: CleanSettings, plans: Plans) -> dict[str, Any]:
    """Clean a table of pairs into `outputs`.

    clean: workers and size of samples. plans: how the rows of each task are cleaned.
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
        counts = Counts(plans)
        evidence = _clean_all_rows(collected, folder / "rows.parquet", clean.evidence_rows, plans, work, counts)
        counts.fitted(evidence)
        duplicates = _judge_all_rows(folder / "rows.parquet", folder / "judged.parquet", plans, evidence, work)
        counts.duplicates(duplicates)
        _write(folder / "judged.parquet", duplicates, outputs, stable_ranks(collected), counts)
    write_json(outputs.samples, counts.samples())
    return counts.metrics()


def _clean_all_rows(
    collected: Path, rows: Path, evidence_rows: int, plans: Plans, work: Executor, counts: Counts
) -> dict[str, Evidence | None]:
    """First pass: repair and filter each row, check its language, and fit the learned filters of a task to its rows that pass."""
    learning = {task: SmallestHashes[Pair](evidence_rows) for task, plan in plans.items() if plan.clean.filters.learns()}
    row_plans = {task: RowPlan(plan.clean.repairs, plan.clean.filters, plan.languages) for task, plan in plans.items()}
    with TableWriter(rows, _WORK_SCHEMA) as writer:
        for frame, result in _mapped(work, clean_tasks, collected, _texts, row_plans, "clean: rows"):
            counts.languages(result.languages)
            is_seen = np.array([not reason for reason in result.reasons], dtype=bool) & ~_is_test(frame)
            for task, sample in learning.items():
                passed = [result.pairs[row] for row in np.flatnonzero(is_seen & (frame["task"] == task).to_numpy())]
                sample.offer(_content_hashes(passed), passed.__getitem__)
            writer.write(_with_results(frame, result))
    if writer.rows == 0:
        raise UserError(f"{collected}: contains no pairs. Name other sources in params.yaml, collect.sources.")
    return {task: _fitted(sample, plans[task].clean.filters) for task, sample in learning.items()}


def _fitted(sample: SmallestHashes[Pair], filters: FilterSettings) -> Evidence | None:
    hashes, pairs = sample.drawn()
    return fit_evidence(pairs, hashes, filters.wide_character_weight)


def _is_test(frame: pd.DataFrame) -> np.ndarray:
    """Return which rows are of an official test set, (N,) bool."""
    return (frame["official_split"] == "test").to_numpy(dtype=bool)


def _texts(frame: pd.DataFrame) -> tuple[Any, ...]:
    return _listed(frame["source"]), _listed(frame["target"]), _listed(frame["task"])


def _with_results(frame: pd.DataFrame, result: CleanedRows) -> pd.DataFrame:
    return frame.assign(
        clean_source=[pair.source for pair in result.pairs],
        clean_target=[pair.target for pair in result.pairs],
        reason=result.reasons,
        repairs=result.repairs,
        found=0,
    )


class JudgePlan(NamedTuple):
    """What the second pass needs for one task."""

    evidence: Evidence | None
    clean: CleanSettings


class JudgedRows(NamedTuple):
    """Pairs with private data masked, their reasons, the private data found (see `private_data`), and what duplicates are found by."""

    pairs: list[Pair]
    reasons: list[str]
    found: list[int]
    compared: list[str]
    keys: Keys


class PassedRows(NamedTuple):
    """Rows that passed the first pass. splits: official split of each."""

    ids: list[str]
    sources: list[str]
    targets: list[str]
    repairs: list[int]
    splits: list[str]

    def at(self, places: np.ndarray) -> PassedRows:
        """Return some of the rows."""
        return PassedRows(*([column[place] for place in places.tolist()] for column in self))


def judge_tasks(rows: PassedRows, tasks: list[str], plans: Mapping[str, JudgePlan]) -> JudgedRows:
    """Judge every row by the plan of its task."""
    count = len(tasks)
    hashes = np.zeros((2, count, 2), dtype=np.uint64)
    keys = Keys(hashes[0], hashes[1], np.zeros(count, dtype=np.uint64), np.zeros(count, dtype=np.uint8))
    result = JudgedRows([Pair("", "")] * count, [""] * count, [0] * count, [""] * count, keys)
    for task, places in places_by_task(tasks):
        part = judge_rows(rows.at(places), task, plans[task])
        put(part.pairs, places, result.pairs)
        put(part.reasons, places, result.reasons)
        put(part.found, places, result.found)
        put(part.compared, places, result.compared)
        for all_keys, own in zip(keys, part.keys, strict=True):
            all_keys[places] = own
    return result


def judge_rows(rows: PassedRows, task: str, plan: JudgePlan) -> JudgedRows:
    """Apply the learned filters, look for private data, and compute duplicate keys, for rows of one task."""
    clean = plan.clean
    pairs = [Pair(*texts) for texts in zip(rows.sources, rows.targets, strict=True)]
    reasons = [""] * len(pairs)
    if plan.evidence is not None:
        reasons = evidence_reasons(pairs, _content_hashes(pairs), plan.evidence, clean.filters)
    masked, private, found = private_data(pairs, clean.privacy.actions())
    reasons = [first or second for first, second in zip(reasons, private, strict=True)]
    compared = rows.ids if clean.duplicates == "none" else [compared_text(pair, clean.duplicates == "source") for pair in masked]
    contexts = [_context(task, split) for split in rows.splits]
    return JudgedRows(masked, reasons, found, compared, duplicate_keys(masked, contexts, rows.repairs, compared, _near(clean) > 0))


def _near(clean: CleanSettings) -> float:
    """Return the minimum similarity of near-duplicates, 0 if none are looked for."""
    return 0.0 if clean.duplicates == "none" else clean.near_duplicates


def _context(task: str, split: str) -> str:
    return f"{task}\0{split}"


def _judge_all_rows(rows: Path, judged: Path, plans: Plans, evidence: Mapping[str, Evidence | None], work: Executor) -> Duplicates:
    """Second pass: judge each row that passed the first one, then find the duplicates among the rows that still pass."""
    judge_plans = {task: JudgePlan(evidence.get(task), plan.clean) for task, plan in plans.items()}
    near = {_context(task, split): _near(plan.clean) for task, plan in plans.items() for split in ("", "train", "test")}
    similarities = dict(zip(hashes64(near).tolist(), near.values(), strict=True))
    keys: list[Keys] = []
    ties: list[np.ndarray] = []
    with TableWriter(judged, _WORK_SCHEMA) as writer, StoredTexts(judged.with_suffix(".texts")) as texts:
        for frame, result in _mapped(work, judge_tasks, rows, _passed_texts, judge_plans, "clean: corpus"):
            passed = np.flatnonzero(frame["reason"].to_numpy() == "")
            frame, stays = _with_judgement(frame, passed, result)
            keys.append(Keys(*(part[stays] for part in result.keys)))
            ties.append(_origin_hashes(frame.iloc[passed[stays]]))
            if any(similarities.values()):
                texts.extend(result.compared[row] for row in stays)
            writer.write(frame)
        texts.flush()
        together = Keys(*(np.concatenate(parts) for parts in zip(*keys, strict=True)))
        keys.clear()
        return find_duplicates(together, np.concatenate(ties), texts, similarities, work)


def _passed_texts(frame: pd.DataFrame) -> tuple[Any, ...]:
    passed = frame[frame["reason"] == ""]
    ids, sources, targets, splits, tasks = (
        _listed(passed[name]) for name in ("id", "clean_source", "clean_target", "official_split", "task")
    )
    return PassedRows(ids, sources, targets, passed["repairs"].tolist(), splits), tasks


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
            is_test = _is_test(frame)
            passed = (frame["reason"] == "").to_numpy() | is_test
            kept.write(frame[passed].assign(**{side: frame[side].where(is_test, frame[f"clean_{side}"])[passed] for side in Pair._fields}))
            rejected.write(frame[~passed])
            counts.judged(frame[~is_test])
            counts.kept_as_is(frame[is_test])
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
