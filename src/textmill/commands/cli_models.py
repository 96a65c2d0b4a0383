"""The subcommands that use a model: run, chat and evaluate. They need no project."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from textmill.commands.running import Number, run_command


def _decoding(function: Callable[..., None]) -> Callable[..., None]:
    """Add the arguments and options that `run` and `chat` share."""
    for option in (
        click.option("--seed", type=int, default=None, help="Random seed of sampling; another seed gives another output."),
        click.option("--top-p", type=float, default=None, help="Sample from the most probable tokens that sum to this probability."),
        click.option("--temperature", type=float, default=None, help="Sample with this temperature. With labels, it divides the scores."),
        click.option("-t", "--task", default="", help="Task, for a model of several tasks."),
        click.argument("model"),
    ):
        function = option(function)
    return function


def _options(seed: int | None, top_p: float | None, temperature: float | None) -> dict[str, Any]:
    given = {"seed": seed, "top_p": top_p, "temperature": temperature}  # each asks for sampling
    return given | {"method": None if list(given.values()) == [None] * 3 else "sampling"}


@click.command()
@_decoding
@click.argument("file", default="-")
@click.option("-b", "--beam-size", type=Number(min=1), default=None, help="Beam size. 1 is greedy search. Default: as exported.")
@click.option("-n", "--num-outputs", type=Number(min=1), default=1, show_default=True, help="Outputs per line, with scores.")
@click.option("--labels", is_flag=True, help="Print JSON lines with the probabilities of the exported labels.")
@click.option("-l", "--label", multiple=True, help="The same, for this label. Can be repeated.")
@click.option("--stream", is_flag=True, help="Print an output while it is decoded, by greedy search or sampling.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON lines with source, target, score, and whether a text was truncated.")
def run(model: str, file: str, task: str, beam_size: int | None, **more: Any) -> None:
    """Run an exported MODEL on each line of FILE.

    MODEL is a folder, such as models/export/int8, or a model in MLflow, such as models:/textmill-en-zh@newest. FILE is a text file
    with one text per line; without it, or with -, lines are read from stdin. The output has one line per line of the input.

    \b
    Example:
      echo "Save the file" | textmill run models/export/int8
    """
    from textmill.commands import run as this

    options = _options(more["seed"], more["top_p"], more["temperature"]) | {"beam_size": beam_size}
    labels = list(more["label"]) if more["labels"] or more["label"] else None
    request = this.Request(task, options, more["num_outputs"], labels, more["stream"], more["as_json"])
    run_command(lambda: this.main(model, file, request), needs_project=False)


@click.command()
@_decoding
@click.option("-v", "--verbose", is_flag=True, help="Print on stderr the time to the first piece of each reply.")
def chat(model: str, task: str, seed: int | None, top_p: float | None, temperature: float | None, verbose: bool) -> None:
    """Talk with an exported MODEL, a folder or a model in MLflow as for `run`.

    Each line is a turn. The oldest ones are left out when the dialogue becomes too long. Ctrl-D or Ctrl-C ends it.
    """
    from textmill.commands import chat as this

    run_command(lambda: this.main(model, task, _options(seed, top_p, temperature), verbose), needs_project=False)


@click.command()
@click.argument("model")
@click.argument("file")
@click.option("-t", "--task", default="", help="Task, for a model of several tasks.")
@click.option("--columns", nargs=2, default=("source", "target"), show_default=True, help="Columns of source and target.")
@click.option("--samples", type=Number(min=100), default=1000, show_default=True, help="Bootstrap resamplings for the intervals.")
@click.option("--seed", type=Number(min=0), default=1, show_default=True, help="Seed of the resamplings.")
@click.option("--json", "as_json", is_flag=True, help="Print all numbers as one line of JSON.")
def evaluate(model: str, file: str, **more: Any) -> None:
    """Score an exported MODEL on the pairs of FILE.

    MODEL is a folder or a model in MLflow, as for `run`. FILE is a table (jsonl, csv, tsv or parquet). The metrics are those of the kind
    of the task, with 95 % intervals.
    """
    from textmill.commands import evaluate as this

    run_command(lambda: this.main(model, file, this.Request(**more)), needs_project=False)
