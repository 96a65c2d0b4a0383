"""What a training leaves beside its model: the learning curve and a few numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, fields
from pathlib import Path
from typing import Any

from textmill.base.files import write_text
from textmill.model.interface import Seq2SeqModel, num_parameters
from textmill.train.run import HistoryRow, TrainingResult


def write_history(path: Path, history: Sequence[HistoryRow]) -> None:
    """Columns step, train_loss, validation_loss (may be empty), learning_rate; a row a validation."""
    lines = [",".join(field.name for field in fields(HistoryRow))]
    lines += [",".join("" if value is None else repr(value) for value in astuple(row)) for row in history]
    write_text(path, "\n".join(lines) + "\n")


def training_metrics(model: Seq2SeqModel, result: TrainingResult, path: Path) -> dict[str, Any]:
    """What a training stage writes beside its model: no time and no speed, so that a rerun gives the same bytes."""
    return {
        "steps": result.steps,
        "epochs": round(result.epochs, 3),
        "padding_share": round(result.padding_share, 4),
        "stopped_early": result.stopped_early,
        "best_validation_loss": result.best_validation_loss,
        "parameters": num_parameters(model),
        "size_bytes": path.stat().st_size,
    }
