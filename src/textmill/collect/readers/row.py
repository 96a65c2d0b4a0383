"""What a reader of a format takes and gives."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from textmill.collect.readers.files import SourceFile
from textmill.collect.settings import SourceSettings


class Row(NamedTuple):
    """One pair as it was found. Sides hold what the file holds, text or not.

    line: counted from 1, never smaller than that of the row before. lines: how many lines of the file it was made of.
    """

    line: int
    source: Any
    target: Any
    group: str = ""
    lines: int = 1


class Skipped(NamedTuple):
    """Something that is no pair and is in order, such as a message without a translation."""

    line: int
    reason: str


class Bad(NamedTuple):
    """Something that should have been a pair. problem: what is wrong, and what to do, as the end of a message."""

    line: int
    reason: str
    problem: str


Found = Row | Skipped | Bad


@dataclass(frozen=True)
class Reading:
    """One file to read. target: the other file of aligned lines. max_row_bytes: what is longer is bad, and never held in memory."""

    file: SourceFile
    source: SourceSettings
    source_language: str
    target_language: str
    max_row_bytes: int
    target: SourceFile | None = None


# Raises UserError if the file as a whole cannot be read.
Reader = Callable[[Reading], Iterator[Found]]
