"""Section collect of params.yaml."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from textmill.settings.schema import require

# A name by PEP 503 and a normalized version by PEP 440. pip cannot mistake these for an option or a URL.
_NAME = r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?"
_VERSION = r"([0-9]+!)?[0-9]+(\.[0-9]+)*((a|b|rc)[0-9]+)?(\.post[0-9]+)?(\.dev[0-9]+)?(\+[a-z0-9]+(\.[a-z0-9]+)*)?"
_WHEEL = re.compile(f"{_NAME}=={_VERSION}")


@dataclass(frozen=True)
class SourceSettings:
    """One source of pairs: files in data/raw, or the catalogs in a wheel, which is read as a zip file. docs/sources.md has examples.

    format: the format of the files.
    path: a file in the project, or a pattern (`*`, `?`, `[abc]`, `**`). Leave it out if you give `wheel`. Compressed files
        (gzip, bzip2, xz, zstd) are decompressed on reading.
    target_path: for format `lines`: the file whose line k is the target of line k of `path`. If `path` is a pattern, both
        need exactly one `*`, which matches the same text in both.
    wheel: `name==version` of a package whose gettext catalogs are read.
    sha256: the SHA-256 of the wheel, checked before it is opened.
    source_column: name of the column or field with the source (jsonl, csv, tsv, parquet).
    target_column: name of the column or field with the target (jsonl, csv, tsv, parquet).
    group_column: name of the column or field with the group (jsonl, csv, tsv, parquet, conversations). Pairs of one group
        stay together in the split.
    task: a name in `tasks`. May be left out if there is only one task.
    weight: how often a pair is seen per epoch: 2 is twice; 0.25 is in one of four epochs on average.
    official_split: `train` or `test` if the source is that part of a published split, else empty.
    prompt_characters: for format `text`: the maximum length of a prompt.
    continuation_characters: for format `text`: the maximum length of a continuation.
    document_characters: for format `text`: a document ends at the first blank line after this many characters, at the latest
        10,000 characters later. 0: each paragraph is a document. Pairs never cross documents, and each document is a group.
    turns_column: for format `conversations`: the field with the list of turns.
    context_turns: for format `conversations`: how many turns before a reply are its source.
    turn_separator: for format `conversations`: the text between these turns.
    reply_role: for format `conversations`: only turns of this role are replies. None: every turn but the first.
    no_answer: for format `squad`: the target of a question without an answer. Empty: such questions are skipped.
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
        # With lower weights an epoch could be empty; with higher weights it would be too long.
        require(0.01 <= self.weight <= 100, "weight: must be between 0.01 and 100.")
        for name in ("prompt_characters", "continuation_characters", "context_turns"):
            require(getattr(self, name) >= 1, f"{name}: must be 1 or more.")
        require(self.document_characters >= 0, "document_characters: must be 0 or more.")
        require(bool(self.turn_separator.strip()), "turn_separator: must have a visible character, to keep turns apart.")


@dataclass(frozen=True)
class CollectSettings:
    """Where the pairs come from.

    max_row_bytes: a longer row (a line, a message, or one side of a pair) is bad. It is skipped without being loaded into memory.
    max_bad_share: the share of bad rows (docs/sources.md) that a source may have. Bad rows are counted and left out. A higher share
        is an error, because then the encoding, the format or a setting is probably wrong.
    sources: the sources. Their order does not matter: rows are sorted by the names of wheels and files.
    """

    sources: list[SourceSettings]
    max_row_bytes: int = 1_000_000
    max_bad_share: float = 0.01

    def __post_init__(self) -> None:
        require(len(self.sources) > 0, "sources: is empty. Name at least one.")
        require(1000 <= self.max_row_bytes <= 1 << 28, "max_row_bytes: must be between 1000 and 268435456.")
        require(0 <= self.max_bad_share <= 1, "max_bad_share: must be between 0 and 1.")
