"""Read formats with named columns: JSON lines, CSV and TSV; also the functions that Parquet shares with them."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from textmill.base.errors import UserError
from textmill.collect.readers.files import TooLong, byte_lines, not_utf8, opened_text, shown
from textmill.collect.readers.row import Bad, Found, Reading, Row, Skipped

# _ESCAPED: bytes that are not UTF-8, as surrogateescape decodes them. _CARRIAGE_RETURN: replaces a "\r" inside a line, which
# the csv module would take for a line end.
_ESCAPED = {chr(code) for code in range(0xDC80, 0xDD00)}
_CARRIAGE_RETURN = "\udc0d"


def read_jsonl(reading: Reading) -> Iterator[Found]:
    """Yield one row per line; each line is a JSON object."""
    for number, value in json_lines(reading):
        if isinstance(value, (Bad, Skipped)):
            yield value
        elif not isinstance(value, dict):
            problem = f"must be a JSON object with named fields, not {type(value).__name__}. Mend or remove the line."
            yield Bad(number, "not_object", problem)
        else:
            yield named_row(reading, number, value)


def json_lines(reading: Reading) -> Iterator[tuple[int, Any]]:
    """Yield number and value of every line. The value is Bad or Skipped if the line has none."""
    with opened_text(reading.file) as stream:
        for number, line in enumerate(byte_lines(stream, reading.max_row_bytes), start=1):
            if isinstance(line, TooLong):
                yield number, too_long(number, reading)
            elif not line.strip():
                yield number, Skipped(number, "blank")
            else:
                yield number, _json_value(number, line)


def _json_value(number: int, line: bytes) -> Any:
    try:
        return json.loads(line.decode("utf-8"), object_pairs_hook=_object)
    except UnicodeDecodeError as error:
        return Bad(number, "not_utf8", not_utf8(line[error.start]))
    except (ValueError, RecursionError) as error:  # ValueError also for numbers of thousands of digits
        return Bad(number, "not_json", f"not JSON ({shown(error)}). Mend or remove the line.")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        twice = next(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
        raise ValueError(f"field '{twice}' stands twice")
    return values


def read_csv(reading: Reading) -> Iterator[Found]:
    """Yield the rows of a CSV file with a header, quoted as in RFC 4180; a cell may contain line ends.

    Raises UserError if, after a faulty row, the start of the next row is unknown.
    """
    csv.field_size_limit(reading.max_row_bytes)
    with opened_text(reading.file) as stream:
        lines = _CsvLines(byte_lines(stream, reading.max_row_bytes))
        reader = csv.reader(lines, strict=True)
        header: list[str] = []
        while True:
            start = lines.number + 1
            try:
                cells = [cell.replace(_CARRIAGE_RETURN, "\r") for cell in next(reader)]
            except StopIteration:
                return
            except _LongLine as error:
                if error.quotes % 2 or lines.number > start:
                    raise UserError(f"{reading.file.name}:{lines.number}: {_too_long(reading)} It ends inside quotes.") from None
                yield too_long(start, reading)
            except csv.Error as error:
                problem = f"not CSV ({shown(error)}). Mend the line, or use format tsv."
                if lines.number > start or "unexpected end" in str(error):  # the start of the next row is unknown
                    raise UserError(f"{reading.file.name}:{start}: {problem}") from None
                yield Bad(start, "not_csv", problem)
            else:
                if not header:
                    header = _header(reading, cells)
                elif not any(cells) and len(cells) < 2:
                    yield Skipped(start, "blank")
                else:
                    yield _cells(reading, start, header, cells)


class _LongLine(Exception):  # noqa: N818
    def __init__(self, quotes: int) -> None:
        self.quotes = quotes


class _CsvLines:
    """Lines for csv.reader.

    number: of the line that was read last.
    """

    def __init__(self, lines: Iterator[bytes | TooLong]) -> None:
        self._lines, self.number = lines, 0

    def __iter__(self) -> _CsvLines:
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        self.number += 1
        if isinstance(line, TooLong):
            raise _LongLine(line.quotes)
        return line.decode("utf-8", "surrogateescape").replace("\r", _CARRIAGE_RETURN) + "\n"


def read_tsv(reading: Reading) -> Iterator[Found]:
    """Yield the rows of a TSV file with a header. There is no quoting: a quote is an ordinary character."""
    header: list[str] = []
    with opened_text(reading.file) as stream:
        for number, line in enumerate(byte_lines(stream, reading.max_row_bytes), start=1):
            if isinstance(line, TooLong):
                yield too_long(number, reading)
            elif not header:
                header = _header(reading, line.decode("utf-8", "surrogateescape").split("\t"))
            elif not line.strip():
                yield Skipped(number, "blank")
            else:
                yield _cells(reading, number, header, line.decode("utf-8", "surrogateescape").split("\t"))


def too_long(line: int, reading: Reading) -> Bad:
    """Return Bad for a row above collect.max_row_bytes."""
    return Bad(line, "too_long", _too_long(reading))


def _too_long(reading: Reading) -> str:
    return f"longer than collect.max_row_bytes, {reading.max_row_bytes}. Cut or remove it."


def _header(reading: Reading, names: Sequence[str]) -> list[str]:
    require_columns(reading, f"{reading.file.name}:1", names)
    return list(names)


def require_columns(reading: Reading, place: str, names: Sequence[str]) -> None:
    """Raise UserError unless every column that the settings name exists exactly once."""
    for setting, column in _wanted(reading):
        if column not in names:
            byte = _undecodable(names)
            raise UserError(f"{place}: {_missing(setting, column, names) if byte is None else not_utf8(byte)}")
        if list(names).count(column) > 1:
            raise UserError(f"{place}: column '{shown(column)}' occurs {list(names).count(column)} times. Rename all but one.")


def _cells(reading: Reading, line: int, header: list[str], cells: list[str]) -> Found:
    byte = _undecodable(cells)
    if byte is not None:
        return Bad(line, "not_utf8", not_utf8(byte))
    if len(cells) != len(header):
        return Bad(line, "columns", f"has {len(cells)} columns, but the header has {len(header)}. Mend the line.")
    return named_row(reading, line, dict(zip(header, cells, strict=True)))


def _undecodable(cells: Iterable[str]) -> int | None:
    """The first byte of a row that is not UTF-8."""
    return next((ord(character) - 0xDC00 for cell in cells if not cell.isascii() for character in cell if character in _ESCAPED), None)


def named_row(reading: Reading, line: int, values: Mapping[str, Any]) -> Found:
    """Return the row with the fields of `values` that the settings name, or Bad if one is missing."""
    for setting, column in _wanted(reading):
        if column not in values:
            return Bad(line, "missing_field", _missing(setting, column, values))
    group = values[reading.source.group_column] if reading.source.group_column is not None else None
    return Row(line, values[reading.source.source_column], values[reading.source.target_column], "" if group is None else str(group))


def _wanted(reading: Reading) -> list[tuple[str, str]]:
    source = reading.source
    wanted = [("source_column", source.source_column), ("target_column", source.target_column)]
    return wanted if source.group_column is None else [*wanted, ("group_column", source.group_column)]


def _missing(setting: str, column: str, names: Iterable[str]) -> str:
    fields = ", ".join(list(names)[:20])
    return f"field '{column}' is missing (fields: {shown(fields)}). Name another in params.yaml, collect.sources, {setting}."
