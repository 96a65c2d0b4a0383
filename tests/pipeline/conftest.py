from __future__ import annotations

import fcntl
import os
import shutil
from pathlib import Path

import pytest
from test_pipeline import first_rebuild


@pytest.fixture(scope="session")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone after its first rebuild, the same for all workers: the first that needs it makes it, and the others wait."""
    own = tmp_path_factory.getbasetemp()
    shared = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
    folder, made = shared / "first", shared / "first.made"
    with (shared / "first.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            shutil.rmtree(folder, ignore_errors=True)  # of a worker that failed
            first_rebuild(folder)
            made.touch()
    return folder
