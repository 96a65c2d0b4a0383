"""Run an exported model on lines of text: one output per line, in order, as soon as it is ready."""

from __future__ import annotations

import io
import json
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

from textmill.base.errors import UserError
from textmill.decode.generate import Output
from textmill.serving.manifest import MANIFEST
from textmill.serving.text_model import Classification, TextModel


@dataclass(frozen=True)
class Request:
    """What to do with each line.

    options: of TextModel.generate.
    outputs: number of outputs per line; more than 1 prints them with their scores.
    labels: print the probabilities of labels; a list, or empty for those that were exported.
    """

    task: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    outputs: int = 1
    labels: Sequence[str] | None = None
    is_streamed: bool = False
    as_json: bool = False


def main(model: str, file: str, request: Request) -> None:
    """Decode the lines of `file` (- for stdin). Raises UserError for a wrong model, task, option or text."""
    chosen = [request.is_streamed, request.labels is not None, request.outputs > 1]
    if sum(chosen) > 1 or (request.is_streamed and request.as_json):
        raise UserError("--stream, --labels and --num-outputs exclude each other, and --stream excludes --json. Choose one.")
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `textmill run ... | head` ends in silence, as all filters do
    loaded = TextModel.load(model_folder(model))
    with _opened(file) as lines:
        batch_size = 1 if lines.isatty() or request.is_streamed else loaded.decode.batch_size
        for sources in _batches(_texts(lines, file), batch_size):
            for line in _lines(loaded, sources, request):
                print(line)
            sys.stdout.flush()


def model_folder(model: str) -> Path:
    """Return the folder of an exported model: `model` itself, or that of a model in MLflow (models:/NAME@ALIAS), which is downloaded."""
    if not model.startswith(("models:/", "runs:/")):
        if not Path(model).is_dir():
            raise UserError(f"{model}: no such folder. Give the folder of an exported model, such as models/export/int8.")
        return Path(model)
    from textmill.tracking.store import fetched  # not above: a folder needs none of it

    found = [path.parent for path in Path(fetched(model)).rglob(MANIFEST)]
    if len(found) != 1:
        raise UserError(f"{model}: is not a model that textmill has exported.")
    return found[0]


def _lines(model: TextModel, sources: list[str], request: Request) -> Iterator[str]:
    """The lines to print for some sources."""
    if request.is_streamed:
        yield _streamed(model, sources[0], request)
    elif request.labels is not None:
        temperature = request.options.get("temperature")
        for source, found in zip(sources, model.classify(sources, request.labels or None, request.task, temperature), strict=True):
            yield _classified(source, found)
    else:
        for source, outputs in zip(sources, model.generate_n_best(sources, request.outputs, request.task, **request.options), strict=True):
            for output in outputs:
                if request.as_json:
                    yield _as_json(source, output)
                elif request.outputs > 1:
                    yield f"{output.score:.4f}\t{_on_one_line(output.text)}"
                else:
                    yield _on_one_line(output.text)


def _streamed(model: TextModel, source: str, request: Request) -> str:
    """Print the pieces of an output, except the last, which is returned."""
    for piece in model.stream(source, request.task, **request.options):
        if piece.reason:
            return piece.text.replace("\n", "\\n")
        print(piece.text.replace("\n", "\\n"), end="", flush=True)
    return ""


def _opened(file: str) -> TextIO:
    """The file as text whose lines end with \\n only."""
    if file == "-":
        return io.TextIOWrapper(sys.stdin.buffer, encoding="utf-8", newline="\n")
    try:
        return Path(file).open(encoding="utf-8", newline="\n")
    except OSError as error:
        raise UserError(f"{file}: {error.strerror}.") from None


def _texts(lines: TextIO, file: str) -> Iterator[str]:
    try:
        for line in lines:
            yield line.removesuffix("\n")
    except UnicodeDecodeError:
        name = "stdin" if file == "-" else file
        raise UserError(f"{name}: is not UTF-8. Convert it to UTF-8 from its own encoding (iconv -f ENCODING -t UTF-8).") from None


def _batches(texts: Iterator[str], size: int) -> Iterator[list[str]]:
    while batch := list(islice(texts, size)):
        yield batch


def _on_one_line(text: str) -> str:
    """The text with its line ends as \\n: one line per input."""
    return text.replace("\\", "\\\\").replace("\n", "\\n") if "\n" in text else text


def _as_json(source: str, output: Output) -> str:
    fields = output._asdict()
    return json.dumps({"source": source, "target": fields.pop("text"), **fields}, ensure_ascii=False)


def _classified(source: str, found: Classification) -> str:
    return json.dumps({"source": source, **found._asdict()}, ensure_ascii=False)
