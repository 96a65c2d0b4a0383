"""Files to text and lines; whatever is wrong is one message with file and line."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

from textmill.errors import UserError

_BYTE_ORDER_MARKS = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}


def read_text(path: Path) -> str:
    """The UTF-8 text of a file, unpacked if it is gzip, without a byte order mark.

    Raises UserError if it is missing, empty, cut, or not UTF-8.
    """
    try:
        content = path.read_bytes()
        if content.startswith(b"\x1f\x8b"):
            content = gzip.decompress(content)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file. Correct collect.sources in params.yaml, or put the file there.") from None
    except IsADirectoryError:
        raise UserError(f"{path}: is a folder. Name a file in collect.sources.") from None
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise UserError(f"{path}: damaged or cut gzip file ({error}). Fetch it again.") from None
    if not content:
        raise UserError(f"{path}: is empty. Put text into it, or remove it from collect.sources.")
    for mark, encoding in _BYTE_ORDER_MARKS.items():
        if content.startswith(mark):
            raise UserError(f"{path}: is {encoding}. Convert it to UTF-8 (iconv -f UTF-16 -t UTF-8).")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise UserError(f"{path}:{line}: byte 0x{content[error.start]:02x} is not UTF-8. Convert the file to UTF-8.") from None


def lines_of(text: str) -> list[str]:
    """Lines, split on "\\n" only (U+2028 and the like stay in the text), each without one "\\r" at its end."""
    lines = text.split("\n")
    if lines[-1] == "":
        lines.pop()
    return [line.removesuffix("\r") for line in lines]
