"""Read files, and write them atomically: a reader never sees half a file, and a failed write keeps the old one."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from textmill.base.errors import UserError

_UNFINISHED = ".tmp"
_UNFINISHED_NAME = re.compile(r"\..+\.[a-z0-9_]{8}\.tmp")  # as tempfile names them
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path to write to. On success it is renamed to `path`; on any error `path` stays as it was.

    The temporary file is in a new hidden folder next to the target, for two reasons:
    - A rename is atomic only within one file system.
    - A library that writes through its own temporary file (safetensors does) puts that file into the same folder. So
      `remove_unfinished` finds everything that a killed process left.

    The file is flushed to disk before the rename. Its mode follows the umask: safetensors would leave 0600.
    Parent folders are created. An OSError for a full disk names the file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.", suffix=_UNFINISHED))
    try:
        temporary = folder / path.name
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    except OSError as error:
        if error.filename is None and error.errno in _NO_ROOM:  # a failed write does not name its file
            error.filename = os.fspath(path)
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    _fsync_folder(path.parent)


def remove_unfinished(folder: Path) -> None:
    """Remove the temporary folders that killed processes left in `folder`. Call it only if no other process writes there."""
    for left in filter(is_unfinished, folder.glob(f".*{_UNFINISHED}")):
        shutil.rmtree(left, ignore_errors=True)


def is_unfinished(path: Path) -> bool:
    """Return whether `path` is a temporary folder of `replacing`."""
    return path.is_dir() and _UNFINISHED_NAME.fullmatch(path.name) is not None


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` to `path` atomically."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` atomically, as UTF-8, without changing line ends."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, value: Any) -> None:
    """Write `value` atomically as indented JSON with sorted keys, so that the same value always gives the same bytes."""
    write_text(path, json.dumps(value, ensure_ascii=False, indent=2, sort_keys=True, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read JSON.

    Raises UserError if the file is missing, is not a regular file, or is not JSON.
    """
    require_ordinary(path)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file. Run `dvc repro` or `dvc checkout` to make it.") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not valid JSON ({error}). Remove it and run `dvc checkout`.") from None
    except RecursionError:
        raise UserError(f"{path}: not valid JSON (nested too deeply). Remove it and run `dvc checkout`.") from None


def require_ordinary(path: Path) -> None:
    """Raise UserError for a pipe, a device or a folder. Opening a pipe would wait for a writer forever."""
    if path.exists() and not path.is_file():
        raise UserError(f"{path}: not a regular file. Remove it and run `dvc checkout`.")


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def md5_of(path: Path) -> str:
    """Return the MD5 of a file in hexadecimal, the hash that dvc.lock records."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


def total_size(paths: Iterable[Path]) -> int:
    """Return the total size of several files in bytes."""
    return sum(path.stat().st_size for path in paths)


def _umask() -> int:
    # The umask can only be read by setting it. This is safe because stages are single-threaded when they write.
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _fsync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
