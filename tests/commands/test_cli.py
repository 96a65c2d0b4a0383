"""The command `textmill`: its help, its error messages, and the output of its small subcommands."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner

from textmill.base import paths
from textmill.base.tables import TableWriter
from textmill.clean.cleaning import REJECTED_SCHEMA
from textmill.commands import rejected, settings
from textmill.commands.cli import textmill
from textmill.decode.settings import DecodeSettings
from textmill.settings.tree import SECTIONS


def test_help_explains_every_command_and_loads_nothing_heavy() -> None:
    program = (
        "import sys; from click.testing import CliRunner; from textmill.commands.cli import textmill\n"
        "print(CliRunner().invoke(textmill, ['--help']).output, {'dvc', 'mlflow', 'pandas', 'torch'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "set()" in done.stdout, "a slow --help"
    assert all(f"\n  {name} " in done.stdout for name in textmill.commands)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["repro"], "repro: there is no dvc.yaml here. Run it in the folder of the project.\n"),
        (
            ["repro", "--jobs", "two"],
            "textmill repro: Invalid value for '-j' / '--jobs': 'two' is not a valid number. See `textmill repro --help`.\n",
        ),
        (["repro", "--jobs", "0"], "0 is not in the range x>=1"),
        (["repro", "--jobs"], "Option '--jobs' requires an argument."),
        (["repro", "--job", "2"], "textmill repro: No such option '--job'"),
        (["repo"], "textmill: No such command 'repo'"),
        (["--bad"], "textmill: No such option '--bad'"),
    ],
)
def test_a_mistake_is_named_in_one_line_and_exits_with_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], line: str
) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(textmill, arguments, prog_name="textmill")
    assert result.exit_code == 2 and line in result.stderr and result.stderr.count("\n") == 1, result.stderr


def test_a_setting_is_shown_with_its_meaning_its_type_and_its_value(capsys: pytest.CaptureFixture[str]) -> None:
    assert settings.main("train.accumulate", markdown=False) == 0
    shown = capsys.readouterr().out
    assert shown.startswith(
        "train.accumulate: not set, so 1    (whole number, default 1)\n    number of batches whose gradients are added up"
    )
    settings.main("decode", markdown=False)
    assert capsys.readouterr().out.count("\ndecode.") == len(fields(DecodeSettings)) - 1
    settings.main("", markdown=False)
    everything = capsys.readouterr().out
    assert all(f"\n{name}." in everything for name in SECTIONS)


def test_an_unknown_setting_is_named_with_those_it_may_be() -> None:
    result = CliRunner().invoke(textmill, ["settings", "trian.max_steps"])
    assert result.exit_code == 2 and result.stderr.startswith("settings: there is no setting trian.max_steps. Did you mean train.max_steps")


@pytest.fixture
def rejected_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    paths.REJECTED.parent.mkdir(parents=True)
    values = {"string": "", "int64": 1, "double": 1.0}
    row = {field.name: values[str(field.type)] for field in REJECTED_SCHEMA}
    rows = [
        row | {"source": f"text {number}\x1b[31m", "target": "文字", "origin": "a.tsv", "line": number, "reason": reason}
        for number, reason in enumerate(["copy"] * 3 + ["empty"] * 9, start=1)
    ]
    with TableWriter(paths.REJECTED, REJECTED_SCHEMA) as writer:
        writer.write(pd.DataFrame(rows))


def test_rejected_rows_are_counted_and_shown_without_what_they_would_do_to_a_terminal(
    rejected_rows: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert rejected.main("copy", 2, 1) == 0
    shown = capsys.readouterr().out
    assert shown.split("\n")[:2] == ["         9  empty", "         3  copy"]
    assert shown.count("\ncopy  a.tsv:") == 2 and "\n  文字\n" in shown
    assert "\x1b" not in shown and "\\x1b[31m" in shown


def test_a_reason_that_did_not_occur_is_named_with_those_that_did(rejected_rows: None) -> None:
    Path("dvc.yaml").touch()
    result = CliRunner().invoke(textmill, ["rejected", "--reason", "length"])
    assert result.exit_code == 2
    assert result.stderr == "rejected: no row was dropped as length. Reasons: empty, copy.\n"
