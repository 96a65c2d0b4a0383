"""Open source files as streams: decompressed, checked, and split into lines in bounded memory."""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import lzma
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

import pyarrow as pa

from textmill.base.errors import UserError

_MAGIC = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\x00": "xz", b"\x28\xb5\x2f\xfd": "zstd"}
_BINARY = {
    b"\x89PNG": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"GIF8": "a GIF image",
    b"%PDF-": "a PDF document",
    b"PK\x03\x04": "a ZIP archive or an office document",
    b"\xd0\xcf\x11\xe0": "an office document of before 2007",
    b"7z\xbc\xaf": "a 7z archive",
    b"Rar!": "a RAR archive",
    b"SQLite format 3\x00": "an SQLite database",
    b"PAR1": "a Parquet file: set its format to parquet",
    b"\x7fELF": "a program",
}
_CONTROL_BYTES = bytes({*range(0x20), 0x7F} - set(b"\t\n\v\f\r\x1b"))
_MAX_CONTROL_SHARE = 0.05  # of random bytes, 0.1 are control characters
_MARK = b"\xef\xbb\xbf"
_SNIFFED_BYTES = 1024
_BUFFER_BYTES = 1 << 18
# Text compresses 3 to 20 times. A file above this ratio is a decompression bomb.
_MAX_EXPANSION, _EXPANSION_FLOOR_BYTES = 100, 1 << 20
MAX_WHOLE_BYTES = 256 << 20  # limit for formats that can only be read as a whole


@dataclass(frozen=True)
class SourceFile:
    """A file, or a member of an archive.

    name: printable, for messages. content: of a member, already read.
    """

    name: str
    path: Path
    content: bytes | None = None


class TooLong(NamedTuple):
    """Replaces a line above the limit.

    quotes: number of double quotes in the line.
    """

    quotes: int


def shown(text: object) -> str:
    """Return a text as one printable line, with line ends, control characters and undecodable bytes escaped."""
    name = str(text)
    return name if name.isprintable() else "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in name)


@contextmanager
def opened(file: SourceFile) -> Iterator[io.BufferedReader[Any]]:
    """Open a file for reading bytes, decompressed if its first bytes say gzip, bzip2, xz or zstd.

    Raises UserError, also later while reading, if the file is missing, empty, a folder, truncated, damaged or a decompression bomb.
    """
    try:
        with io.BytesIO(file.content) if file.content is not None else file.path.open("rb") as raw:
            packed: io.BufferedReader[Any] = io.BufferedReader(cast(io.RawIOBase, raw), _BUFFER_BYTES)
            start = packed.peek(6)
            kind = next((kind for magic, kind in _MAGIC.items() if start.startswith(magic)), None)
            stream: io.BufferedReader[Any] = packed if kind is None else io.BufferedReader(_Unpacked(packed, kind, file), _BUFFER_BYTES)
            if not stream.peek(1):
                raise UserError(f"{file.name}: is empty. Put text into it, or remove it from collect.sources.")
            yield stream
    except FileNotFoundError:
        raise UserError(f"{file.name}: no such file. Correct collect.sources in params.yaml, or put the file there.") from None
    except IsADirectoryError:
        raise UserError(f"{file.name}: is a folder. Name a file in collect.sources, or a pattern such as {file.name}/*.tsv.") from None
    except (EOFError, zlib.error, lzma.LZMAError, OSError, pa.ArrowException) as error:
        reason = shown(error).split("\n")[0]
        raise UserError(f"{file.name}: cannot be read, damaged or truncated ({reason}). Download it again.") from None


@contextmanager
def opened_text(file: SourceFile) -> Iterator[io.BufferedReader[Any]]:
    """Open a file as `opened` does, and skip a UTF-8 byte order mark.

    Raises UserError if the file is UTF-16 or not text.
    """
    with opened(file) as stream:
        _require_text(file, stream.peek(_SNIFFED_BYTES)[:_SNIFFED_BYTES])
        if stream.peek(3).startswith(_MARK):
            stream.read(3)
        yield stream


def byte_lines(stream: IO[bytes], max_bytes: int) -> Iterator[bytes | TooLong]:
    """Yield lines, split on "\\n" only, without their ends ("\\n" or "\\r\\n"). A line above `max_bytes` becomes TooLong."""
    while line := stream.readline(max_bytes + 2):
        if len(line) > max_bytes and not line.endswith(b"\n"):
            quotes = line.count(b'"')
            while line and not line.endswith(b"\n"):
                line = stream.readline(_BUFFER_BYTES)
                quotes += line.count(b'"')
            yield TooLong(quotes)
        else:
            yield line.removesuffix(b"\n").removesuffix(b"\r")


def read_whole(file: SourceFile) -> bytes:
    """Return all bytes of a file whose format cannot be streamed.

    Raises UserError above 256 MiB.
    """
    with opened(file) as stream:
        content = stream.read(MAX_WHOLE_BYTES + 1)
    if len(content) > MAX_WHOLE_BYTES:
        raise UserError(f"{file.name}: has more than {MAX_WHOLE_BYTES >> 20} MiB. Split it, and name the parts with a pattern.")
    return content


def whole_text(file: SourceFile, content: bytes) -> str:
    """Decode `content` of `file` as UTF-8.

    Raises UserError with the line of the first byte that is not UTF-8, and as `opened_text` does.
    """
    _require_text(file, content[:_SNIFFED_BYTES])
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise UserError(f"{file.name}:{line}: {not_utf8(content[error.start])}") from None


def require_proportion(name: str, unpacked_bytes: int, packed_bytes: int) -> None:
    """Raise UserError if the decompressed size is implausible for text."""
    if unpacked_bytes > max(_EXPANSION_FLOOR_BYTES, _MAX_EXPANSION * packed_bytes):
        raise UserError(f"{name}: unpacks to over {_MAX_EXPANSION} times its size. Remove it, or unpack it yourself if you trust it.")


def not_utf8(byte: int) -> str:
    """Return the end of a message about a byte that is not UTF-8."""
    return f"byte 0x{byte:02x} is not UTF-8. Convert the file to UTF-8 from its own encoding (iconv -f ENCODING -t UTF-8)."


def _require_text(file: SourceFile, start: bytes) -> None:
    advice = "Convert it to UTF-8 (iconv -f UTF-16 -t UTF-8)."
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise UserError(f"{file.name}: is UTF-16. {advice}")
    kind = next((kind for magic, kind in _BINARY.items() if start.startswith(magic)), None)
    if kind is not None:
        raise UserError(f"{file.name}: is binary, not text ({kind}). Convert it to text, or remove it from collect.sources.")
    if start.count(0) * 10 > len(start):
        raise UserError(f"{file.name}: not text, or UTF-16 without a byte order mark (it is full of NUL bytes). {advice}")
    num_control = len(start) - len(start.translate(None, _CONTROL_BYTES))
    if num_control > _MAX_CONTROL_SHARE * len(start) and not _is_utf8(start):
        raise UserError(f"{file.name}: is binary, not text. Convert it to text, or remove it from collect.sources.")


def _is_utf8(start: bytes) -> bool:
    """Is this the start of a UTF-8 text? Its last character may be incomplete."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(start)
    except UnicodeDecodeError:
        return False
    return True


def _unpacking(packed: io.BufferedReader[Any], kind: str) -> IO[bytes]:
    if kind == "gzip":
        return cast(IO[bytes], gzip.GzipFile(fileobj=packed, mode="rb"))
    if kind == "bzip2":
        return bz2.BZ2File(packed, "rb")
    if kind == "xz":
        return lzma.LZMAFile(packed, "rb")
    return cast(IO[bytes], pa.CompressedInputStream(pa.PythonFile(packed, mode="r"), "zstd"))


class _Unpacked(io.RawIOBase):
    """Stream of decompressed bytes that stops at a decompression bomb.

    The decompressed bytes are compared with the compressed bytes read so far, not with the size of the file. Otherwise
    the lines of a large bomb would be parsed for minutes before the limit is reached.
    """

    def __init__(self, packed: io.BufferedReader[Any], kind: str, file: SourceFile) -> None:
        self._packed, self._stream, self._file, self._read = packed, _unpacking(packed, kind), file, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        piece = self._stream.read(len(memoryview(buffer)))  # type: ignore[arg-type]
        memoryview(buffer)[: len(piece)] = piece  # type: ignore[arg-type]
        self._read += len(piece)
        require_proportion(self._file.name, self._read, self._packed.tell())
        return len(piece)
