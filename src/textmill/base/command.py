"""End every program with one line, not a traceback, on a user's mistake, a full disk or a signal."""

from __future__ import annotations

import errno
import os
import signal
import sqlite3
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import NoReturn

from textmill.base.errors import UserError
from textmill.base.lifetime import Stopped
from textmill.tracking.redaction import redacted

_MISTAKE = 2
# Errors of the operating system that the user can fix, and how. Any other OSError is a bug and keeps its traceback.
_REFUSED = {
    errno.ENOSPC: "Make room and run again; earlier outputs are still there.",
    errno.EDQUOT: "Make room and run again; earlier outputs are still there.",
    errno.EFBIG: "Raise the limit on the size of files (ulimit -f) and run again; earlier outputs are still there.",
    errno.EROFS: "Use a copy of the project on a writable disk.",
    errno.EACCES: "Change its owner or mode, or run as a user who has access.",
    errno.EPERM: "Change its owner or mode, or run as a user who has access.",
    errno.EIO: "The disk reports an error. Check it before you continue.",
    errno.EMFILE: "Raise the limit on open files (ulimit -n).",
    errno.ENFILE: "The machine has too many open files. Close other programs.",
}
_DATABASE_REFUSED = ("readonly", "disk is full", "unable to open", "disk I/O error")


@contextmanager
def one_line_errors(name: str) -> Iterator[None]:
    """Exit with one line on stderr if the user can fix the error, or if a signal ended the program.

    Exit codes: 2 for an error that the user can fix, 1 for a failed subprocess, 128 + N for signal N.
    name: the start of the line.
    Any other exception is a bug and is raised.
    """
    try:
        yield
    except UserError as error:
        _exit(_MISTAKE, f"{name}: {error}")
    except Stopped as stopped:
        _stop(128 + stopped.number, name)
    except KeyboardInterrupt:
        _stop(128 + signal.SIGINT, name)
    except MemoryError:
        _exit(_MISTAKE, f"{name}: out of memory. Close other programs, or use less data or a smaller model.")
    except OSError as error:
        if error.errno not in _REFUSED:
            raise
        place = f"{os.fsdecode(error.filename)}: " if error.filename else ""
        _exit(_MISTAKE, f"{name}: {place}{os.strerror(error.errno)}. {_REFUSED[error.errno]}")
    except subprocess.CalledProcessError as error:
        shown = " ".join(map(str, error.cmd)) if isinstance(error.cmd, list) else error.cmd
        _exit(1, f"{name}: `{shown}` failed with exit code {error.returncode}{_last_line(error.stderr)}.")
    except sqlite3.OperationalError as error:  # from DVC's own databases
        if not any(words in str(error) for words in _DATABASE_REFUSED):
            raise
        _exit(_MISTAKE, f"{name}: DVC's database cannot be written ({error}). Is the disk full, or the project read-only?")
    except Exception as error:
        if not _is_of_dvc(error):
            raise
        _exit(_MISTAKE, f"{name}: {' '.join(str(error).split()) or type(error).__name__}")


def run(name: str, main: Callable[[], int | None]) -> NoReturn:
    """Run a script's `main` and exit with its return code, or as `one_line_errors` says."""
    redact_tracebacks()
    with one_line_errors(name):
        sys.exit(main())


def redact_tracebacks() -> None:
    """Keep passwords out of tracebacks: by default, Python prints a URL with its password."""
    sys.excepthook = _print_redacted


def _print_redacted(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    print(redacted("".join(traceback.format_exception(kind, error, trace))), end="", file=sys.stderr)


def _is_of_dvc(error: Exception) -> bool:
    """Return whether the error is a DvcException, by the name of its class: importing DVC takes a second."""
    return any((kind.__module__, kind.__name__) == ("dvc.exceptions", "DvcException") for kind in type(error).__mro__)


def _last_line(output: str | bytes | None) -> str:
    text = output.decode("utf-8", errors="replace") if isinstance(output, bytes) else output or ""
    lines = text.strip().split("\n")
    return f" ({lines[-1]})" if lines[-1] else ""


def _stop(code: int, name: str) -> NoReturn:
    """Exit without Python's own shutdown, during which our handler no longer catches a second signal."""
    print(f"{name}: stopped.", file=sys.stderr)
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # closed, or its reader is gone
            stream.flush()
    os._exit(code)


def _exit(code: int, line: str) -> NoReturn:
    print(redacted(line), file=sys.stderr, flush=True)
    sys.exit(code)
