"""What all subcommands share: how one is run, and the type of a number on the command line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click

from textmill.base import command
from textmill.base.errors import UserError


class Number(click.IntRange):
    """A whole number in a range, called a number in messages and in the help."""

    name = "number"


def run_command(main: Callable[[], int | None], needs_project: bool = True) -> None:
    """Run the subcommand and exit with its exit code. A UserError becomes one line.

    needs_project: the folder must be that of a project, and DVC installed.
    """

    from importlib.util import find_spec

    def in_project() -> int | None:
        if not needs_project:
            return main()
        if not Path("dvc.yaml").is_file():
            raise UserError("there is no dvc.yaml here. Run it in the folder of the project.")
        if find_spec("dvc") is None:  # some commands run it as a program and do not import it
            raise ModuleNotFoundError(name="dvc")
        return main()

    command.run(click.get_current_context().info_name or "textmill", in_project)
