from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from dvc_project import make_project

from textmill.base.command import one_line_errors
from textmill.base.errors import UserError
from textmill.commands import gate
from textmill.commands.asking import DVC, output_of


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A DVC project in git, with a default remote that is empty."""
    monkeypatch.chdir(tmp_path)
    make_project(tmp_path)
    config = tmp_path / ".dvc/config"
    config.write_text(f"{config.read_text()}    remote = store\n['remote \"store\"']\n    url = {tmp_path}/store\n", encoding="utf-8")
    subprocess.run(["git", "init", "-q"], check=True)
    subprocess.run(["git", "add", "dvc.yaml", "dvc.lock", "params.yaml"], check=True)
    return tmp_path


def break_rwlock(project: Path) -> None:
    (project / ".dvc/tmp").mkdir(exist_ok=True)
    (project / ".dvc/tmp/rwlock").touch()


def take_git_away(project: Path) -> None:
    (project / ".git/HEAD").unlink()


@pytest.mark.parametrize(
    ("fault", "named"),
    [(break_rwlock, "`dvc status --json` failed with exit code"), (take_git_away, "`git ls-files` failed with exit code 128")],
)
def test_a_check_that_cannot_be_run_is_an_error(project: Path, fault, named: str, capsys: pytest.CaptureFixture[str]) -> None:  # type: ignore[no-untyped-def]
    fault(project)
    with pytest.raises(SystemExit) as end, one_line_errors("gate"):
        gate.main()
    assert end.value.code == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.startswith(f"gate: {named}") and captured.err.count("\n") == 1


def test_raw_data_that_cannot_be_pulled_is_reported(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("data/raw/far.tsv.dvc").write_text(f"outs:\n- md5: {'a' * 32}\n  size: 3\n  hash: md5\n  path: far.tsv\n", encoding="utf-8")
    assert gate.main() == 1
    assert "gate: `dvc pull -q data/raw/far.tsv.dvc` failed" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ([sys.executable, "-c", "import sys; print('first\\nlast', file=sys.stderr); sys.exit(3)"], r"exit code 3: last$"),
        ([sys.executable, "-c", "raise SystemExit('one\\nERROR: why\\nadvice')"], r"exit code 1: ERROR: why$"),
        ([sys.executable, "-c", "print('only out'); raise SystemExit(1)"], r"exit code 1: only out$"),
        ([sys.executable, "-c", "raise SystemExit(1)"], r"exit code 1: it printed nothing$"),
        (["no-such-program", "-x"], r"^`no-such-program -x` cannot be run: No such file or directory\.$"),
    ],
)
def test_a_command_that_fails_is_one_line_with_its_last_words(command: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        output_of(*command)


def test_a_command_that_works_gives_what_it_prints() -> None:
    assert output_of(sys.executable, "-c", "print('a\\nb\\n')") == "a\nb"
    assert DVC[:2] == [sys.executable, "-m"]
