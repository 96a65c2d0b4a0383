"""Score an exported model on a file of new pairs, with the metrics and intervals of the kind of its task."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from textmill.base.errors import UserError
from textmill.base.tables import read_table
from textmill.collect.settings import CollectSettings, SourceSettings
from textmill.collect.sources import collect_sources
from textmill.commands.run import model_folder
from textmill.evaluate.scoring import Evaluation
from textmill.evaluate.systems import evaluate_engine
from textmill.serving.text_model import TextModel
from textmill.tasks.settings import UNNAMED, TaskSettings

Format = Literal["jsonl", "csv", "tsv", "parquet"]
_FORMATS: dict[str, Format] = {".jsonl": "jsonl", ".csv": "csv", ".tsv": "tsv", ".parquet": "parquet"}
_COMPRESSED = {".gz", ".bz2", ".xz", ".zst"}


@dataclass(frozen=True)
class Request:
    """What to score.

    task: of a model of several tasks. columns: of source and target. samples, seed: number of bootstrap resamplings, and their seed.
    """

    task: str = ""
    columns: tuple[str, str] = ("source", "target")
    samples: int = 1000
    seed: int = 1
    as_json: bool = False


def main(model: str, file: str, request: Request) -> None:
    """Print the scores. Raises UserError for a wrong model, task or file."""
    loaded = TextModel.load(model_folder(model))
    if request.task and request.task not in loaded.tasks:
        raise UserError(f"task {request.task!r} is not known to this model. Known: {', '.join(loaded.tasks)}.")
    if not request.task and loaded.tasks != [UNNAMED]:
        raise UserError(f"this model has several tasks: {', '.join(loaded.tasks)}. Name one with --task.")
    about = loaded.generation.about.get(request.task)
    if about is None:
        raise UserError("the model does not say of which kind it is: it was exported by an older textmill. Run `dvc repro export`.")
    task = TaskSettings(**about)
    source = SourceSettings(
        _format(file), path=file, source_column=request.columns[0], target_column=request.columns[1], official_split="test"
    )
    with tempfile.TemporaryDirectory() as folder:
        pairs = Path(folder, "pairs.parquet")
        counts = collect_sources(CollectSettings([source], max_bad_share=0.0), {"only": task}, Path(folder), pairs)
        test = read_table(pairs).assign(task=request.task)
    evaluation = Evaluation(test, {request.task: task}, loaded.generation.labels, {}, request.samples, request.seed)
    metrics, _ = evaluate_engine(loaded.engine, loaded.tokenizer, evaluation, loaded.generation.decode_of(request.task))
    scores = metrics.get("tasks", {request.task: metrics})[request.task]
    skipped = sum(sum(each["skipped"].values()) for each in counts["sources"])
    print(_as_json(scores) if request.as_json else _table(scores, task, len(test), skipped))


def _format(file: str) -> Format:
    name = Path(file)
    suffix = (name.with_suffix("") if name.suffix in _COMPRESSED else name).suffix
    if suffix not in _FORMATS:
        raise UserError(f"{file}: the name must end in one of {', '.join(_FORMATS)}, compressed or not.")
    return _FORMATS[suffix]


def _as_json(scores: dict[str, Any]) -> str:
    return json.dumps(scores, ensure_ascii=False, sort_keys=True)


def _table(scores: dict[str, Any], task: TaskSettings, rows: int, skipped: int) -> str:
    """Return one line per metric: score and 95 % interval."""
    lines = [f"{rows:,} rows" + (f", {skipped:,} skipped" if skipped else "")]
    for name in task.special.metrics:
        if name in scores:
            each = scores[name]
            lines.append(f"{name:24} {each['score']:8.2f}   {each['low']:.2f} to {each['high']:.2f}")
    return "\n".join(lines)
