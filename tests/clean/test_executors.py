"""Who works on the chunks: the order of the answers, what happens when a worker dies, and that nobody else can give it work."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from textmill.base.errors import UserError
from textmill.clean.executors import executor


def scaled(number: int, factor: int) -> int:
    return number * factor


def listening(_: int, parent: int) -> tuple[int, list[tuple[str, object]]]:
    """Return the id of this process, and all ports on which it or its parent listens."""
    connections = [each for pid in (os.getpid(), parent) for each in psutil.Process(pid).net_connections("inet")]
    return os.getpid(), [(each.status, each.laddr) for each in connections if each.status == psutil.CONN_LISTEN or not each.raddr]


def killed(number: int, _: None) -> int:
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def test_results_come_in_order_and_one_executor_serves_several_functions() -> None:
    with executor(2, "") as work:
        for factor in (2, 3):
            assert list(work.map(scaled, ((number,) for number in range(20)), factor)) == [number * factor for number in range(20)]


def test_workers_open_no_port() -> None:
    """All users of a machine can reach its ports, and a Dask scheduler runs any code that it receives."""
    with executor(2, "") as work:
        answers = list(work.map(listening, ((number,) for number in range(8)), os.getpid()))
    assert {pid for pid, _ in answers} - {os.getpid()}, "nothing ran in another process"
    assert [ports for _, ports in answers] == [[]] * 8


def test_a_worker_that_dies_is_an_error_of_one_line() -> None:
    with executor(2, "") as work, pytest.raises(UserError, match=r"^a worker process was killed, perhaps because memory ran out"):
        list(work.map(killed, ((number,) for number in range(8)), None))


def test_workers_die_with_the_process_that_they_work_for() -> None:
    program = (
        "import os, signal, time\n"
        "from textmill.clean.executors import executor\n"
        "from test_executors import listening\n"
        "if __name__ == '__main__':\n"
        "    with executor(2, '') as work:\n"
        "        print(next(work.map(listening, ((n,) for n in range(6)), os.getpid()))[0], flush=True)\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    done = subprocess.run(
        [sys.executable, "-c", program], env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    worker = int(done.stdout)
    patience = 100
    while psutil.pid_exists(worker) and psutil.Process(worker).status() != psutil.STATUS_ZOMBIE and patience:
        time.sleep(0.1)
        patience -= 1
    assert patience, "the worker still runs"
