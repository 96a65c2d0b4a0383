"""The command `textmill`: one subcommand for each thing that people do with a project. Each loads only what it needs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from textmill.base import command
from textmill.base.errors import UserError

_GROUPS = {
    "Run the pipeline": ("recipe", "repro", "tune", "settings"),
    "Look at what it made": ("ui", "rejected", "changes"),
    "Trust it": ("gate", "doctor", "verify", "release"),
    "Keep dvc.yaml up to date": ("folds", "dependencies", "setup"),
}


class _Number(click.IntRange):
    """A whole number in a range, called a number in messages and in the help."""

    name = "number"


@contextmanager
def _one_line_usage_errors() -> Iterator[None]:
    """Print a wrong command line as one line and exit with 2. click prints three."""
    try:
        yield
    except click.UsageError as error:
        if type(error).__name__ == "NoArgsIsHelpError":  # of click 8.2: its message is the help
            raise
        name = error.ctx.command_path if error.ctx else "textmill"
        click.echo(f"{name}: {' '.join(error.format_message().split())} See `{name} --help`.", err=True)
        sys.exit(2)


class _Manual(click.Group):
    """Lists the commands by what they are for."""

    def make_context(self, *args: Any, **more: Any) -> click.Context:
        with _one_line_usage_errors():
            return super().make_context(*args, **more)

    def invoke(self, ctx: click.Context) -> Any:
        with _one_line_usage_errors():
            return super().invoke(ctx)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for title, names in _GROUPS.items():
            with formatter.section(title):
                formatter.write_dl([(name, self.commands[name].get_short_help_str(limit=100)) for name in names])


@click.group(cls=_Manual, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="textmill")
def textmill() -> None:
    """Turn raw text into a small, fast, evaluated text-to-text model.

    Put your text into data/raw, describe it in params.yaml, and run `textmill repro`: it cleans, splits, trains, distills, prunes,
    quantizes and evaluates, and runs only what has changed. The result is in models/export, and the numbers are in
    reports/report.html. Run every command in the folder of the project, where dvc.yaml is.

    `dvc repro`, `dvc push` and the other commands of DVC work as always.
    """


def _run(main: Callable[[], int | None]) -> None:
    """Run the subcommand in a project, and end as all programs of the project do."""

    def in_project() -> int | None:
        if not Path("dvc.yaml").is_file():
            raise UserError("there is no dvc.yaml here. Run it in the folder of the project.")
        return main()

    command.run(click.get_current_context().info_name or "textmill", in_project)


@textmill.command()
@click.option("-j", "--jobs", type=_Number(min=1), default=1, show_default=True, help="Folds that train side by side.")
def repro(jobs: int) -> None:
    """Run every stage whose data, code or settings have changed.

    It is `dvc repro`, made safe to start again after a crash: it mends what a killed run left, keeps a copy of an edited output before
    it replaces it, and checks that the result is complete.
    """
    from textmill.commands import repro as this

    _run(lambda: this.main(jobs))


@textmill.command()
@click.argument("name", required=False)
def recipe(name: str | None) -> None:
    """Write params.yaml for a ready-made job. Without NAME: list the recipes.

    The old file is kept as params.yaml.bak, and dvc.yaml gets the folds of the recipe. `textmill recipe default` brings the default back.
    """
    from textmill.commands import recipe as this

    _run(lambda: this.main(name))


@textmill.command()
@click.option("--storage", envvar="TUNE_STORAGE", default="", help="URL of a database that several machines share.")
def tune(storage: str) -> None:
    """Search for better settings, as tune.yaml says.

    Start it as often as you like, on as many machines: with the same storage they work on one search. Stopped, it goes on where it was.
    """
    from textmill.commands import tune as this

    _run(lambda: this.main(storage))


@textmill.command()
@click.argument("key", required=False, default="")
@click.option("--markdown", is_flag=True, help="Print the page docs/settings.md.")
def settings(key: str, markdown: bool) -> None:
    """Explain the settings: meaning, type, default and the value in params.yaml.

    KEY is a section, such as `train`, or one setting, such as `train.max_steps`. Without KEY: all sections.
    """
    from textmill.commands import settings as this

    _run(lambda: this.main(key, markdown))


@textmill.command()
@click.option("-p", "--port", type=_Number(1, 65535), default=5000, show_default=True)
def ui(port: int) -> None:
    """Open the MLflow UI with all runs, for this machine only."""
    from textmill.commands import ui as this

    _run(lambda: this.main(port))


@textmill.command()
@click.option("-r", "--reason", default="", help="Only rows that were dropped for this reason.")
@click.option("-n", "--number", type=_Number(min=1), default=10, show_default=True, help="Rows to show.")
@click.option("--seed", type=int, default=1, show_default=True, help="Another number shows other rows.")
def rejected(reason: str, number: int, seed: int) -> None:
    """Show rows that cleaning dropped, and why."""
    from textmill.commands import rejected as this

    _run(lambda: this.main(reason, number, seed))


@textmill.command()
@click.argument("base", default="HEAD~1")
def changes(base: str) -> None:
    """Compare metrics and settings with the commit BASE, as Markdown."""
    from textmill.commands import changes as this

    _run(lambda: this.main(base))


@textmill.command()
@click.option("--prove", multiple=True, metavar="STAGE", help="Run it again and compare: a stage, `scores` or `all`. Repeat for more.")
def gate(prove: tuple[str, ...]) -> None:
    """Check that the commit is reproduced and pushed.

    With --prove it also runs stages of the last commit again, in a clone, and compares their bytes with dvc.lock.
    """
    from textmill.commands import gate as this

    _run(lambda: this.main(prove))


@textmill.command()
@click.option("--fix", is_flag=True, help="Repair what is safe to repair.")
def doctor(fix: bool) -> None:
    """Find damaged files, and what killed processes left.

    Hashes DVC's cache and every output. --fix removes damaged objects of the cache and leftovers, mends DVC's own files and closes MLflow
    runs of dead processes. It never touches the content of an output. Exit code 1: something was found.
    """
    from textmill.commands import doctor as this

    _run(lambda: this.main(fix))


@textmill.command()
@click.option("--full", is_flag=True, help="The job of this project instead of toy data: hours.")
@click.option("--seed", type=int, help="Of the times of the kills; random by default.")
@click.option("--folder", type=click.Path(path_type=Path), help="Where the clones are made; a temporary folder by default.")
def verify(full: bool, seed: int | None, folder: Path | None) -> None:
    """Build two clones, and a third that is killed again and again: all must be identical."""
    from textmill.commands import verify as this

    _run(lambda: this.main(full, seed, folder))


@textmill.command()
def release() -> None:
    """Register the model of this commit in MLflow, or fail."""
    from textmill.commands import release as this

    _run(this.main)


@textmill.command()
def folds() -> None:
    """Write the lists of folds into dvc.yaml, after split.folds has changed."""
    from textmill.commands import folds as this

    _run(this.main)


@textmill.command()
@click.option("--write", is_flag=True, help="Write them into dvc.yaml.")
def dependencies(write: bool) -> None:
    """Compare the code that stages import with what dvc.yaml lists."""
    from textmill.commands import dependencies as this

    _run(lambda: this.main(write))


@textmill.command()
def setup() -> None:
    """Give DVC a private cache folder (SECURITY.md). `make setup` does it."""
    from textmill.pipeline.site_cache import set_site_cache

    _run(set_site_cache)
