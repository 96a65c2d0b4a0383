"""The command `textmill`. Each subcommand imports its module only when it runs, so that `textmill --help` is fast."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from textmill.base import command
from textmill.base.errors import UserError
from textmill.commands.cli_models import chat, evaluate, run
from textmill.commands.running import Number, run_command

_GROUPS = {
    "Run the pipeline": ("recipe", "repro", "tune", "settings"),
    "Use a model": ("run", "chat", "evaluate"),
    "Inspect the results": ("ui", "rejected", "changes"),
    "Check and release": ("gate", "doctor", "verify", "release"),
    "Keep dvc.yaml up to date": ("folds", "dependencies", "setup"),
}

# The extra of pyproject.toml that each command needs. A model from MLflow needs mlflow, so `run` and `chat` may need train too.
_EXTRAS = {name: "train" for names in _GROUPS.values() for name in names} | {"verify": "dev"}
_MISSING = (
    "the module {module} is not installed. Install textmill[{extra}]: run `pip install -e '.[{extra}]' -c constraints.txt`"
    " in the folder of the project."
)


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
    """A command group whose --help lists the commands by purpose. It says which extra a command needs that is not installed."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with _one_line_usage_errors():
                return super().invoke(ctx)
        except ModuleNotFoundError as error:
            name = ctx.invoked_subcommand or "textmill"
            module = (error.name or "textmill").partition(".")[0]
            if module == "textmill" or name not in _EXTRAS:
                raise
            with command.one_line_errors(name):
                raise UserError(_MISSING.format(module=module, extra=_EXTRAS[name])) from None

    def make_context(self, *args: Any, **more: Any) -> click.Context:
        with _one_line_usage_errors():
            return super().make_context(*args, **more)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for title, names in _GROUPS.items():
            with formatter.section(title):
                formatter.write_dl([(name, self.commands[name].get_short_help_str(limit=100)) for name in names])


@click.group(cls=_Manual, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="textmill")
def textmill() -> None:
    """Turn raw text into a small, fast, evaluated text-to-text model.

    Run every command but `run`, `chat` and `evaluate` in the project folder, which contains dvc.yaml.

    \b
    To build a model:
      1. Put your text into data/raw.
      2. Describe it in params.yaml (see `textmill settings collect`).
      3. Run `textmill repro`.

    `textmill repro` cleans the text, splits it, trains, distills, prunes, exports and evaluates. It runs only the stages whose
    inputs have changed.

    \b
    Results:
      models/export         the model, ready to use
      reports/report.html   the scores

    `dvc repro`, `dvc push` and all other commands of DVC work as usual.
    """


for _model_command in (run, chat, evaluate):
    textmill.add_command(_model_command)


@textmill.command()
@click.option("-j", "--jobs", type=Number(min=1), default=1, show_default=True, help="Number of folds to train in parallel.")
def repro(jobs: int) -> None:
    """Run every stage whose data, code or settings have changed.

    This is `dvc repro`, with three additions. Before the run, it repairs what a killed run has left broken, and copies edited
    outputs that DVC would overwrite. After the run, it checks that the result is complete.
    """
    from textmill.commands import repro as this

    run_command(lambda: this.main(jobs))


@textmill.command()
@click.argument("name", required=False)
def recipe(name: str | None) -> None:
    """Write params.yaml from a recipe. Without NAME, list the recipes.

    The old file is kept as params.yaml.bak. The fold lists in dvc.yaml are updated too. `textmill recipe default` restores the
    default settings.
    """
    from textmill.commands import recipe as this

    run_command(lambda: this.main(name))


@textmill.command()
@click.option("--storage", envvar="TUNE_STORAGE", default="", help="Database URL, for a search on several machines.")
def tune(storage: str) -> None:
    """Tune the settings (hyper-parameters), as described in tune.yaml.

    A stopped search continues when you run the command again. Several processes, on one or more machines, work on the same search
    if they have the same storage. The default storage is an SQLite file under .tune.
    """
    from textmill.commands import tune as this

    run_command(lambda: this.main(storage))


@textmill.command()
@click.argument("key", required=False, default="")
@click.option("--markdown", is_flag=True, help="Print all settings in the format of docs/settings.md.")
def settings(key: str, markdown: bool) -> None:
    """Explain the settings and show their values.

    For each setting, it prints the value in params.yaml, the type, the default and the meaning.

    KEY is a section, such as `train`, or a setting, such as `train.max_steps`. Without KEY, all settings are shown.
    """
    from textmill.commands import settings as this

    run_command(lambda: this.main(key, markdown))


@textmill.command()
@click.option("-p", "--port", type=Number(1, 65535), default=5000, show_default=True, help="Port to listen on.")
def ui(port: int) -> None:
    """Serve the MLflow UI with all runs.

    The UI is reachable only from this machine, at http://127.0.0.1:PORT. Ctrl-C stops it.
    """
    from textmill.commands import ui as this

    run_command(lambda: this.main(port))


@textmill.command()
@click.option("-r", "--reason", default="", help="Show only rows with this reason.")
@click.option("-n", "--number", type=Number(min=1), default=10, show_default=True, help="Number of rows to show.")
@click.option("--seed", type=int, default=1, show_default=True, help="Random seed; another seed shows other rows.")
def rejected(reason: str, number: int, seed: int) -> None:
    """Show rows that cleaning has dropped, and count them by reason."""
    from textmill.commands import rejected as this

    run_command(lambda: this.main(reason, number, seed))


@textmill.command()
@click.argument("base", default="HEAD~1")
def changes(base: str) -> None:
    """Compare metrics and settings with another commit.

    BASE is any Git revision. The default is HEAD~1, the previous commit. The output is two Markdown tables.
    """
    from textmill.commands import changes as this

    run_command(lambda: this.main(base))


@textmill.command()
@click.option("--prove", multiple=True, metavar="STAGE", help="Stage to run again and compare, `scores`, or `all`. Can be repeated.")
def gate(prove: tuple[str, ...]) -> None:
    """Check that the results of this commit are up to date and pushed.

    With --prove, it also runs stages of the last commit again in a clone, and compares their outputs with dvc.lock byte for byte.

    Exit code 1 means that a check failed.
    """
    from textmill.commands import gate as this

    run_command(lambda: this.main(prove))


@textmill.command()
@click.option("--fix", is_flag=True, help="Repair everything that is safe to repair.")
def doctor(fix: bool) -> None:
    """Find damaged files, and leftovers of killed processes.

    It hashes DVC's cache and every output, and compares them with dvc.lock.

    With --fix, it removes damaged objects from the cache, removes leftovers, repairs DVC's own files, and closes MLflow runs of dead
    processes. It never changes the content of an output.

    Exit code 1 means that something was found.
    """
    from textmill.commands import doctor as this

    run_command(lambda: this.main(fix))


@textmill.command()
@click.option("--full", is_flag=True, help="Use the data of this project instead of toy data. This takes hours.")
@click.option("--seed", type=int, help="Random seed for the times of the kills.  [default: random]")
@click.option("--folder", type=click.Path(path_type=Path), help="Folder for the clones, which are kept.  [default: a temporary folder]")
def verify(full: bool, seed: int | None, folder: Path | None) -> None:
    """Check that the pipeline is reproducible and survives being killed.

    It runs the pipeline in three clones. The third is killed at random times and restarted. All three must give identical results.
    """
    from textmill.commands import verify as this

    run_command(lambda: this.main(full, seed, folder))


@textmill.command()
def release() -> None:
    """Register the model of this commit in MLflow. It is an error if that fails."""
    from textmill.commands import release as this

    run_command(this.main)


@textmill.command()
def folds() -> None:
    """Update the fold lists in dvc.yaml.

    Run it after you have changed split.folds in params.yaml.
    """
    from textmill.commands import folds as this

    run_command(this.main)


@textmill.command()
@click.option("--write", is_flag=True, help="Write the dependencies into dvc.yaml.")
def dependencies(write: bool) -> None:
    """Check the code and package dependencies in dvc.yaml.

    It compares them with the imports of the stages. Exit code 1 means that they differ. With --write, it corrects dvc.yaml.
    """
    from textmill.commands import dependencies as this

    run_command(lambda: this.main(write))


@textmill.command()
def setup() -> None:
    """Give DVC a private site cache (see SECURITY.md). `make setup` runs this too."""
    from textmill.pipeline.site_cache import set_site_cache

    run_command(set_site_cache)
