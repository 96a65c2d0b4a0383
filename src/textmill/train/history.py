"""The outputs of a training other than the model: the learning curve and the metrics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, fields
from pathlib import Path
from typing import Any

from textmill.base.files import write_text
from textmill.model.interface import Seq2SeqModel, num_parameters
from textmill.train.run import HistoryRow, TrainingResult


def write_history(path: Path, history: Sequence[HistoryRow]) -> None:
    """Write the learning curve as CSV, one row per validation. Columns: the fields of HistoryRow; None is an empty cell."""
    lines = [",".join(field.name for field in fields(HistoryRow))]
    lines += [",".join("" if value is None else repr(value) for value in astuple(row)) for row in history]
    write_text(path, "\n".join(lines) + "\n")


def training_metrics(model: Seq2SeqModel, result: TrainingResult, path: Path) -> dict[str, Any]:
    """Collect the metrics of a training. Time and speed are left out, so that a rerun gives the same bytes. path: of the saved model."""
    return {
        "steps": result.steps,
        "epochs": round(result.epochs, 3),
        "padding_share": round(result.padding_share, 4),
        "stopped_early": result.stopped_early,
        "best_validation_loss": result.best_validation_loss,
        "parameters": num_parameters(model),
        "size_bytes": path.stat().st_size,
    }
