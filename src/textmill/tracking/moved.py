"""Correct the addresses of artifacts in the project's own store after the project was moved: MLflow keeps absolute ones."""

from __future__ import annotations

import sqlite3
from pathlib import Path

# Columns with addresses of artifacts, of MLflow 3.
_COLUMNS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "storage_location"),
    ("model_versions", "source"),
)


def follow_move(database: Path, before: str, now: str) -> None:
    """Let all addresses that begin with `before` begin with `now`.

    Raises sqlite3.Error, and changes nothing, if the database is not one of MLflow 3 or cannot be written.
    """
    with sqlite3.connect(database, timeout=60) as connection:  # one transaction
        for table, column in _COLUMNS:
            connection.execute(
                f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE substr({column}, 1, ?) = ?",
                (now, len(before) + 1, len(before), before),
            )
