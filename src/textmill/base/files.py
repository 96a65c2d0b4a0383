"""Writing and reading files so that a reader never sees half a file and a failed write loses nothing."""

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
_UNFINISHED_NAME = re.compile(r"\..+\.[a-z0-9_]{8}\.tmp")  # as tempfile makes them
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a path to write to; on success it becomes `path` in one step, on any error `path` stays as it was.

    The temporary file is in a hidden folder of its own beside the target: a rename is atomic only inside one file system, and
    a library that writes through a temporary file of its own (safetensors does) puts it into that folder too, so a killed
    process leaves nothing that `remove_unfinished` does not find. The file is flushed to the disk before the rename, and
    gets the mode that the umask asks for: safetensors would leave 0600. Creates the folders above `path`. An OSError for want of room
    names the file.
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
        if error.filename is None and error.errno in _NO_ROOM:  # a failed write does not say of which file
            error.filename = os.fspath(path)
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    _fsync_folder(path.parent)


def remove_unfinished(folder: Path) -> None:
    """Remove what killed writers left in `folder`. Call it only where no other process writes."""
    for left in filter(is_unfinished, folder.glob(f".*{_UNFINISHED}")):
        shutil.rmtree(left, ignore_errors=True)


def is_unfinished(path: Path) -> bool:
    """Is it a folder that `replacing` writes in? One whose process is gone is a leftover."""
    return path.is_dir() and _UNFINISHED_NAME.fullmatch(path.name) is not None


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` to `path`, all of it or nothing."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8 with its line ends untouched, all of it or nothing."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON with sorted keys: the same value gives the same bytes in every process."""
    write_text(path, json.dumps(value, ensure_ascii=False, indent=2, sort_keys=True, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read JSON. Raises UserError if the file is missing, is no ordinary file, or is not JSON."""
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
    """Raise UserError for a pipe, a device or a folder: opening a pipe waits for a writer that never comes."""
    if path.exists() and not path.is_file():
        raise UserError(f"{path}: is no ordinary file. Remove it and run `dvc checkout`.")


def sha256_of(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def md5_of(path: Path) -> str:
    """Hexadecimal MD5 of a file's bytes: the hash that dvc.lock has."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


def total_size(paths: Iterable[Path]) -> int:
    """Bytes of several files together."""
    return sum(path.stat().st_size for path in paths)


def _umask() -> int:
    # The umask can only be read by setting it; stages are single-threaded when they write.
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _fsync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
