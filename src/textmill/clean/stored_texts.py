"""Store the texts of a whole corpus on disk, with eight bytes per text in memory."""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import overload

import numpy as np


class StoredTexts(Sequence[str]):
    """Append-only texts in a temporary file, read by index. Use as a context manager."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._ends = array("Q", [0])

    def __enter__(self) -> StoredTexts:
        self._file = self._path.open("w+b", buffering=1 << 20)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._file.close()
        self._path.unlink()

    def extend(self, texts: Iterable[str]) -> None:
        """Append texts. They can be read after `flush`."""
        for text in texts:
            encoded = text.encode("utf-8", "surrogatepass")
            self._file.write(encoded)
            self._ends.append(self._ends[-1] + len(encoded))

    def flush(self) -> None:
        """Make appended texts readable."""
        self._file.flush()

    def __len__(self) -> int:
        return len(self._ends) - 1

    @overload
    def __getitem__(self, row: int) -> str: ...
    @overload
    def __getitem__(self, row: slice) -> list[str]: ...
    def __getitem__(self, row: int | slice) -> str | list[str]:
        if isinstance(row, slice):
            return [self[each] for each in range(*row.indices(len(self)))]
        start, end = self._ends[row], self._ends[row + 1]
        return os.pread(self._file.fileno(), end - start, start).decode("utf-8", "surrogatepass")


class Chosen(Sequence[str]):
    """A view of stored texts: chosen rows in a given order."""

    def __init__(self, texts: StoredTexts, rows: np.ndarray) -> None:
        self._texts, self._rows = texts, rows

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, row: int) -> str: ...
    @overload
    def __getitem__(self, row: slice) -> list[str]: ...
    def __getitem__(self, row: int | slice) -> str | list[str]:
        if isinstance(row, slice):
            return [self._texts[int(each)] for each in self._rows[row]]
        return self._texts[int(self._rows[row])]
