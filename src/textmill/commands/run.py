"""Run an exported model on lines of text: one output per line, in order, as soon as it is ready."""

from __future__ import annotations

import io
import json
import signal
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TextIO

from textmill.base.errors import UserError
from textmill.decode.translate import Translation
from textmill.serving.manifest import MANIFEST
from textmill.serving.translator import Translator


def main(model: str, file: str, task: str, beam_size: int | None, as_json: bool) -> None:
    """Translate the lines of `file` (- for stdin). Raises UserError for a wrong model, task, beam size or text."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `textmill run ... | head` ends in silence, as all filters do
    translator = Translator.load(model_folder(model))
    with _opened(file) as lines:
        batch_size = 1 if lines.isatty() else translator.decode.batch_size
        for sources in _batches(_texts(lines, file), batch_size):
            for source, output in zip(sources, translator.translate_with_scores(sources, task, beam_size), strict=True):
                print(_as_json(source, output) if as_json else _on_one_line(output.text))
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


def _as_json(source: str, output: Translation) -> str:
    fields = output._asdict()
    return json.dumps({"source": source, "target": fields.pop("text"), **fields}, ensure_ascii=False)
