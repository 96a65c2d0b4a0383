"""Read two files with aligned lines, or one file of running text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import zip_longest

from textmill.base.errors import UserError
from textmill.collect.readers.columns import too_long
from textmill.collect.readers.files import TooLong, byte_lines, not_utf8, opened_text
from textmill.collect.readers.row import Bad, Found, Reading, Row, Skipped

_SENTENCE_END = re.compile(r"[.!?…]+[\"'”’)]*\s+|[。！？…]+[”’」』）]*")

_LONGEST_OVERHANG = 10_000  # after this many more characters without a blank line, a document ends at any line


def read_lines(reading: Reading) -> Iterator[Found]:
    """Yield line k of the source file with line k of the target file.

    Raises UserError, with both counts, if one file has more lines.
    """
    assert reading.target is not None
    with opened_text(reading.file) as source_stream, opened_text(reading.target) as target_stream:
        sources = byte_lines(source_stream, reading.max_row_bytes)
        targets = byte_lines(target_stream, reading.max_row_bytes)
        for number, (source, target) in enumerate(zip_longest(sources, targets), start=1):
            if source is None or target is None:
                longer = number + sum(1 for _ in (targets if source is None else sources))
                counts = (number - 1, longer) if source is None else (longer, number - 1)
                raise UserError(
                    f"{reading.file.name} has {counts[0]} lines, but {reading.target.name} has {counts[1]}."
                    " Line k of one must belong to line k of the other."
                )
            yield _line_pair(reading, number, source, target)


def _line_pair(reading: Reading, number: int, source: bytes | TooLong, target: bytes | TooLong) -> Found:
    if isinstance(source, TooLong) or isinstance(target, TooLong):
        return too_long(number, reading)
    if not source.strip() and not target.strip():
        return Skipped(number, "blank")
    try:
        return Row(number, source.decode("utf-8"), target.decode("utf-8"))
    except UnicodeDecodeError as error:
        return Bad(number, "not_utf8", not_utf8(error.object[error.start]))


def read_text(reading: Reading) -> Iterator[Found]:
    """Yield running text as prompts and continuations; see `continuations` and SourceSettings."""
    document: list[tuple[int, str]] = []
    size = 0
    with opened_text(reading.file) as stream:
        for number, line in enumerate(byte_lines(stream, reading.max_row_bytes), start=1):
            text = _decoded(reading, number, line)
            if isinstance(text, Bad) or _ends_document(text, size, reading.source.document_characters):
                yield from _document_rows(reading, document)
                document, size = [], 0
            if isinstance(text, Bad):  # a bad line ends the document, so that no pair crosses it
                yield text
            elif text.strip() or document:
                document.append((number, text))
                size += len(text) + 1
        yield from _document_rows(reading, document)


def _ends_document(text: str, size: int, document_characters: int) -> bool:
    return size >= document_characters and (not text.strip() or size >= document_characters + _LONGEST_OVERHANG)


def _decoded(reading: Reading, number: int, line: bytes | TooLong) -> str | Bad:
    if isinstance(line, TooLong):
        return too_long(number, reading)
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        return Bad(number, "not_utf8", not_utf8(line[error.start]))


def _document_rows(reading: Reading, document: list[tuple[int, str]]) -> Iterator[Found]:
    while document and not document[-1][1].strip():
        document.pop()
    if not document:
        return
    source, first = reading.source, document[0][0]
    rows = list(continuations(document, source.prompt_characters, source.continuation_characters))
    if not rows:
        yield Skipped(first, "no_continuation")
    for line, prompt, continuation in rows:
        yield Row(line, prompt, continuation, f"{reading.file.name}:{first}", max(continuation.count("\n"), 1))


def continuations(document: list[tuple[int, str]], prompt_characters: int, continuation_characters: int) -> Iterator[tuple[int, str, str]]:
    """Yield line, prompt and continuation for one document.

    document: numbers and texts of its lines.
    A unit is a line with its line end. A line above `continuation_characters` is split after a sentence, else at a space, else anywhere.
    The first unit is the first prompt. Each continuation is as many of the next units as fit, at least one. Its prompt is as
    many of the units before it as fit, at least one. So the first prompt and all continuations, joined, are the document.
    """
    units = [(number, piece) for number, text in document for piece in _units(text + "\n", continuation_characters)]
    end = 1
    while end < len(units):
        start, end = end, _fitting(units, end, continuation_characters)
        first = start - 1
        size = len(units[first][1])
        while first > 0 and size + len(units[first - 1][1]) <= prompt_characters:
            first -= 1
            size += len(units[first][1])
        yield units[start][0], "".join(text for _, text in units[first:start]), "".join(text for _, text in units[start:end])


def _fitting(units: list[tuple[int, str]], start: int, characters: int) -> int:
    """Return the end index of the units from `start` that fit; at least one unit is taken."""
    end, size = start + 1, len(units[start][1])
    while end < len(units) and size + len(units[end][1]) <= characters:
        size += len(units[end][1])
        end += 1
    return end


def _units(text: str, characters: int) -> Iterator[str]:
    """Yield pieces of a line of at most `characters`, not counting the line end."""
    while len(text) > characters + 1:
        ends = [match.end() for match in _SENTENCE_END.finditer(text, 0, characters)]
        cut = ends[-1] if ends else text.rfind(" ", 0, characters) + 1 or characters
        yield text[:cut]
        text = text[cut:]
    yield text
