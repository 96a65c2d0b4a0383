"""What `make` installs, with a Python that only writes down what it is asked to do."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

# `-m venv FOLDER` makes a copy of itself there; everything else is written down.
_STUB = """#!/bin/sh
case "$1 $2" in
"-m venv") mkdir -p "$3/bin"; cp "$0" "$3/bin/python"; cp "$0" "$3/bin/textmill" ;;
*) echo "$(basename "$0") $*" >>"$LOG" ;;
esac
"""


class Project:
    """A folder with the Makefile, what it reads, and the stub."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.log = folder, folder / "log"
        for name in ("Makefile", "pyproject.toml", "constraints.txt"):
            shutil.copy(name, folder)
        (folder / "stub").write_text(_STUB)
        (folder / "stub").chmod(0o755)

    def make(self, *arguments: str) -> list[str]:
        """The calls of pip."""
        self.log.write_text("")
        command = ["make", f"PYTHON={self.folder / 'stub'}", *arguments]
        subprocess.run(command, cwd=self.folder, check=True, env={"PATH": "/usr/bin:/bin", "LOG": str(self.log)}, stdout=subprocess.DEVNULL)
        return [line.partition(" -m pip ")[2] for line in self.log.read_text().split("\n") if " -m pip " in line]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    if not shutil.which("make", path="/usr/bin:/bin"):
        pytest.skip("no make here")
    return Project(tmp_path)


def test_the_pipeline_installs_no_test_tools_and_the_tests_add_them(project: Project) -> None:
    (install,) = project.make("repro")
    assert "-e .[train] -c constraints.txt" in install and "index" not in install, "as pip is configured"
    assert project.make("repro") == project.make("ui") == []
    (install,) = project.make("test")
    assert "-e .[dev] -c constraints.txt" in install
    assert project.make("check") == project.make("repro") == []


def test_a_fresh_machine_that_tests_first_installs_once(project: Project) -> None:
    (install,) = project.make("check", "test", "repro")
    assert "-e .[dev]" in install


def test_new_pins_are_installed(project: Project) -> None:
    project.make("check")
    for stamp in (project.folder / ".venv").glob(".installed*"):  # older than the pins, however coarse the clock of the disk is
        os.utime(stamp, (1, 1))
    (install,) = project.make("repro")
    assert "-e .[train]" in install
    (install,) = project.make("check")
    assert "-e .[dev]" in install


def test_the_build_of_torch_is_changed_on_demand_and_remembered(project: Project) -> None:
    project.make("setup")
    removal, install = project.make("setup", "TORCH=cpu")
    assert removal == "uninstall --yes -qq torch"
    assert install.endswith("-c constraints.txt --extra-index-url https://download.pytorch.org/whl/cpu")
    (install,) = project.make("test")
    assert install.endswith("https://download.pytorch.org/whl/cpu")
    assert project.make("setup", "TORCH=cpu") == []
    _, install = project.make("setup", "TORCH=cuda")
    assert install.endswith("https://download.pytorch.org/whl/cu130")


def test_an_unknown_build_of_torch_is_an_error(project: Project) -> None:
    with pytest.raises(subprocess.CalledProcessError):
        project.make("setup", "TORCH=gpu")
    assert not (project.folder / ".venv").exists()
