"""Section collect of params.yaml."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from textmill.settings.schema import require

# A name by PEP 503 and a public or local version by PEP 440, in its normal form: nothing that pip could take for an option or an address.
_NAME = r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?"
_VERSION = r"([0-9]+!)?[0-9]+(\.[0-9]+)*((a|b|rc)[0-9]+)?(\.post[0-9]+)?(\.dev[0-9]+)?(\+[a-z0-9]+(\.[a-z0-9]+)*)?"
_WHEEL = re.compile(f"{_NAME}=={_VERSION}")


@dataclass(frozen=True)
class SourceSettings:
    """One place that pairs come from: files in data/raw, or a wheel of a package read as a zip file. docs/sources.md has examples.

    format: how the files are read.
    path: file under the project, or a pattern (`*`, `?`, `[abc]`, `**`), for all formats but gettext out of a wheel. Packed files
        (gzip, bzip2, xz, zstd) are unpacked on reading.
    target_path: for format `lines`: the file whose line k is the target of line k of `path`. In a pattern, `path` and
        `target_path` have one `*` each, which stands for the same text in both.
    wheel: `name==version` of a package whose catalogs are read. sha256: its hash, checked before it is opened.
    source_column, target_column, group_column: names of the columns or fields (jsonl, csv, tsv, parquet; group_column also conversations).
    task: name of the task in a mixture of several, put before the source as "NAME: "; empty puts nothing.
    weight: how often a pair is seen in an epoch of training: 2 is twice, 0.25 in one of four epochs by chance.
    official_split: `train` or `test` if the source is that part of a published split, else empty.
    prompt_characters, continuation_characters, document_characters: for format `text`: the longest prompt and the longest
        continuation, and how long a document is before a blank line ends it (0: each paragraph is one; without a blank line it
        ends 10,000 characters later). Nothing crosses the border of a document, and what is cut from one is a group.
    turns_column: for format `conversations`: the field with the list of turns. context_turns: how many turns before a reply
        are its source. turn_separator: stands between them. reply_role: only turns of this role are replies.
    no_answer: for format `squad`: the target of a question without an answer; empty skips such questions.
    """

    format: Literal["gettext", "jsonl", "csv", "tsv", "parquet", "lines", "text", "tmx", "conversations", "squad"]
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
    prompt_characters: int = 200
    continuation_characters: int = 200
    document_characters: int = 10_000
    turns_column: str = "turns"
    context_turns: int = 1
    turn_separator: str = " ⏎ "
    reply_role: str | None = None
    no_answer: str = ""

    def __post_init__(self) -> None:
        require((self.path is None) != (self.wheel is None), "path: give either path or wheel.")
        require(self.path != "", "path: is empty. Name a file.")
        require(self.wheel is None or self.format == "gettext", "wheel: only format gettext is read out of a wheel.")
        require(
            self.wheel is None or _WHEEL.fullmatch(self.wheel) is not None,
            "wheel: must be name==version, such as django==5.2, and nothing else.",
        )
        require((self.wheel is None) == (self.sha256 is None), "sha256: needed with wheel, and only there.")
        require(
            self.sha256 is None or re.fullmatch("[0-9a-f]{64}", self.sha256) is not None,
            "sha256: must be 64 hexadecimal digits in lower case (sha256sum FILE.whl prints them).",
        )
        require((self.format == "lines") == (self.target_path is not None), "target_path: needed with format lines, and only there.")
        # Small letters only: tokenizer/protection.py copies identifiers such as qa_zh through slots, and the model would not see which.
        words = self.task.replace("-", " ").split(" ") if self.task else []
        require(
            all(word.isalpha() and word == word.lower() for word in words), "task: may hold small letters, single spaces and hyphens only."
        )
        # Below, whole epochs could be empty; above, an epoch would be many.
        require(0.01 <= self.weight <= 100, "weight: must be between 0.01 and 100.")
        for name in ("prompt_characters", "continuation_characters", "context_turns"):
            require(getattr(self, name) >= 1, f"{name}: must be 1 or more.")
        require(self.document_characters >= 0, "document_characters: must be 0 or more.")
        require(bool(self.turn_separator.strip()), "turn_separator: must be visible, or turns run into each other.")


@dataclass(frozen=True)
class CollectSettings:
    """What goes into the mill.

    source_language, target_language: two-letter codes (ISO 639-1); zh covers simplified and traditional
        Chinese, yue is written Cantonese, and und (undetermined) is what is no language: labels, numbers, code.
    max_row_bytes: a row (a line, a message, a side of a pair) with more is bad; it is passed over without being held in memory.
    max_bad_share: share of bad rows (docs/sources.md) that a source may have; they are counted and left out. More is an error,
        since then it is not rows that are wrong but the encoding, the format or a setting.
    sources: where the pairs come from. Their order means nothing: rows are sorted by the names of wheels and files.
    """

    source_language: str
    target_language: str
    max_row_bytes: int
    max_bad_share: float
    sources: list[SourceSettings]

    def __post_init__(self) -> None:
        require(len(self.sources) > 0, "sources: is empty. Name at least one.")
        require(1000 <= self.max_row_bytes <= 1 << 28, "max_row_bytes: must be between 1000 and 268435456.")
        require(0 <= self.max_bad_share <= 1, "max_bad_share: must be between 0 and 1.")
        for name in ("source_language", "target_language"):
            code = getattr(self, name)
            require(code.isascii() and code.islower() and 2 <= len(code) <= 3, f"{name}: {code!r} is not a language code such as en or zh.")
