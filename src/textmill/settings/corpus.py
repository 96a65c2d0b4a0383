"""Settings of the corpus room: collect, split. Those of clean are in cleaning.py."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from textmill.settings.schema import require


@dataclass(frozen=True)
class SourceSettings:
    """One place that pairs come from: a file in data/raw, or a wheel of a package read as a zip file.

    format: how the file is read (gettext, jsonl, csv, tsv, parquet, lines).
    path: file under the project, for all formats but gettext out of a wheel. gz files are unpacked on reading.
    target_path: for format `lines`: the file whose line k is the target of line k of `path`.
    wheel: `name==version` of a package whose catalogs are read. sha256: its hash, checked before it is opened.
    source_column, target_column, group_column: names of the columns (jsonl, csv, tsv, parquet).
    task: name of the task in a mixture of several; empty if there is one only. weight: how often its pairs are seen in an epoch.
    official_split: `train` or `test` if the source is that part of a published split, else empty.
    """

    format: Literal["gettext", "jsonl", "csv", "tsv", "parquet", "lines"]
    path: str | None = None
    target_path: str | None = None
    wheel: str | None = None
    sha256: str | None = None
    source_column: str = "source"
    target_column: str = "target"
    group_column: str | None = None
    task: str = ""
    weight: float = 1.0
    official_split: Literal["", "train", "test"] = ""

    def __post_init__(self) -> None:
        require((self.path is None) != (self.wheel is None), "path: give either path or wheel.")
        require(self.wheel is None or self.format == "gettext", "wheel: only format gettext is read out of a wheel.")
        require(self.wheel is None or "==" in self.wheel, "wheel: must be name==version.")
        require((self.wheel is None) == (self.sha256 is None), "sha256: needed with wheel, and only there.")
        require(self.weight > 0, "weight: must be above 0.")
        require((self.format == "lines") == (self.target_path is not None), "target_path: needed with format lines, and only there.")


@dataclass(frozen=True)
class CollectSettings:
    """What goes into the mill.

    source_language, target_language: two-letter codes (ISO 639-1); zh covers simplified and traditional
        Chinese, yue is written Cantonese, and und (undetermined) is what is no language: labels, numbers, code.
    sources: read in this order; the order decides which of two equal pairs is kept.
    """

    source_language: str
    target_language: str
    sources: list[SourceSettings]

    def __post_init__(self) -> None:
        require(len(self.sources) > 0, "sources: is empty. Name at least one.")
        for name in ("source_language", "target_language"):
            code = getattr(self, name)
            require(code.isascii() and code.islower() and 2 <= len(code) <= 3, f"{name}: {code!r} is not a language code such as en or zh.")


@dataclass(frozen=True)
class SplitSettings:
    """A held-out test set and folds, over groups that are never taken apart.

    folds: the fold numbers 0, 1, ... in order; a list because DVC makes one training stage of each.
    test_share: share of all pairs in the test set.
    similarity: sources whose TF-IDF cosine over character n-grams is at least this are one group; 1 joins equal
        sources only (equal after lower-casing and leaving out everything but letters).
    """

    folds: list[int]
    test_share: float
    similarity: float

    def __post_init__(self) -> None:
        require(len(self.folds) >= 2, "folds: must name at least two folds.")
        require(self.folds == list(range(len(self.folds))), "folds: must be 0, 1, 2, ... in order.")
        require(0 < self.test_share < 1, "test_share: must be between 0 and 1.")
        require(0 < self.similarity <= 1, "similarity: must be above 0 and at most 1.")


@dataclass(frozen=True)
class FoldsSettings:
    """The part of `split` that later stages need. folds: the fold numbers."""

    folds: list[int]


@dataclass(frozen=True)
class LanguageSettings:
    """The part of `collect` that later stages need: two-letter language codes."""

    source_language: str
    target_language: str

    def codes(self) -> tuple[str, str]:
        """Of source and target."""
        return self.source_language, self.target_language
