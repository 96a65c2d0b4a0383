"""Processes with MLflow already imported: each is forked from one that has imported it, which saves seconds of processor time a process.

The interface is that part of subprocess.Popen which the tests use. The program sees its own environment, folder, arguments and pipes.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

_CONTEXT = multiprocessing.get_context("forkserver")
# A server of its own: that of multiprocessing is one for the whole process, and tests/train/trials.py has other modules in it.
_SERVER = forkserver.ForkServer()
_SERVER.set_forkserver_preload(["forked_imports"])


def _start(process: BaseProcess) -> None:
    """Fork a process from the server, which is started if it does not run yet.

    The server finds modules as this process does; Python 3.11 does not see to that.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
        _SERVER.ensure_running()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(forkserver, "connect_to_new_process", _SERVER.connect_to_new_process)
        process.start()


class Forked:
    """A running program, whose output is text."""

    def __init__(self, program: str, *arguments: str, env: Mapping[str, str], cwd: Path) -> None:
        (read_in, write_in), (read_out, write_out), (read_err, write_err) = (_CONTEXT.Pipe(duplex=False) for _ in range(3))
        pipes = (read_in, write_out, write_err)
        self._process = _CONTEXT.Process(target=_run, args=(program, arguments, dict(env), str(cwd), pipes))
        _start(self._process)
        for pipe in pipes:
            pipe.close()
        self.stdin = os.fdopen(os.dup(write_in.fileno()), "w", encoding="utf-8")
        self.stdout = os.fdopen(os.dup(read_out.fileno()), encoding="utf-8")
        self.stderr = os.fdopen(os.dup(read_err.fileno()), encoding="utf-8")
        for pipe in (write_in, read_out, read_err):
            pipe.close()

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def kill(self) -> None:
        self._process.kill()

    def send_signal(self, number: int) -> None:
        assert self._process.pid is not None
        os.kill(self._process.pid, number)

    def communicate(self, text: str = "", timeout: float | None = None) -> tuple[str, str]:
        """Write to the program, wait for its end, and return what it wrote to stdout and stderr since the last read."""
        self.stdin.write(text)
        self.stdin.close()
        with ThreadPoolExecutor(2) as threads:
            out, err = threads.map(lambda stream: stream.read(), (self.stdout, self.stderr))
        self._process.join(timeout)
        assert self._process.exitcode is not None, "still running"
        self.stdout.close()
        self.stderr.close()
        return out, err


def _run(program: str, arguments: tuple[str, ...], environment: dict[str, str], folder: str, pipes: tuple[Connection, ...]) -> None:
    for number, pipe in enumerate(pipes):
        os.dup2(pipe.fileno(), number)
        pipe.close()
    sys.stdin = os.fdopen(0, encoding="utf-8", closefd=False)
    sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, encoding="utf-8", closefd=False)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.argv = ["-c", *arguments]
    exec(compile(program, "<string>", "exec"), {"__name__": "__main__"})
