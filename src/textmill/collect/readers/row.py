"""Input and output types of the readers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from textmill.collect.readers.files import SourceFile
from textmill.collect.settings import SourceSettings


class Row(NamedTuple):
    """One pair as it was found in the file. Source and target may be values that are not text.

    line: counted from 1, never smaller than in the row before. lines: number of lines of the file that make up this row.
    """

    line: int
    source: Any
    target: Any
    group: str = ""
    lines: int = 1


class Skipped(NamedTuple):
    """A valid entry that is not a pair, such as a message without a translation."""

    line: int
    reason: str


class Bad(NamedTuple):
    """An invalid entry.

    problem: what is wrong and what to do, as the end of a message.
    """

    line: int
    reason: str
    problem: str


Found = Row | Skipped | Bad


@dataclass(frozen=True)
class Reading:
    """One file to read.

    target: the second file, for format `lines`. max_row_bytes: a longer row is bad, and is never loaded into memory as a whole.
    """

    file: SourceFile
    source: SourceSettings
    source_language: str
    target_language: str
    max_row_bytes: int
    target: SourceFile | None = None


# A reader raises UserError if the file as a whole cannot be read.
Reader = Callable[[Reading], Iterator[Found]]
