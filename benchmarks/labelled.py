"""Files of labelled defects, and the table of pairs that cleaning reads, made of them.

A row has source and target as they are, label (the defect, `ok` for none), action (keep, repair or drop: what cleaning should do),
and clean_source and clean_target, the pair before the defect was put in.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pandas as pd
from ruamel.yaml import YAML

from textmill.base.errors import UserError
from textmill.base.tables import PAIR_SCHEMA, write_table
from textmill.clean.settings import CleanSettings
from textmill.settings.languages import LanguageSettings
from textmill.settings.schema import build


def read_rows(path: Path, fields: tuple[str, ...] = ("source", "target")) -> list[dict[str, Any]]:
    """JSON objects, one a line, gz or not. Raises UserError for a line that is none, or lacks a field."""
    rows = []
    try:
        with path.open("rb") as raw, gzip.open(raw) if path.suffix == ".gz" else raw as file:
            for number, line in enumerate(file, 1):
                row = json.loads(line)
                missing = [field for field in fields if field not in row]
                if missing:
                    raise UserError(f"{path}:{number}: field {missing[0]!r} is missing. It needs: {', '.join(fields)}.")
                rows.append(row)
    except (OSError, EOFError, ValueError) as error:
        raise UserError(f"{path}: line {len(rows) + 1} cannot be read ({error}). It must hold one JSON object a line.") from None
    if not rows:
        raise UserError(f"{path}: is empty.")
    return rows


def write_pairs(rows: list[dict[str, Any]], path: Path) -> None:
    """Write the pairs as collect would; `line` k is row k of the file."""
    count = len(rows)
    columns = {
        "id": [f"0-{number}" for number in range(count)],
        "source": [row["source"] for row in rows],
        "target": [row["target"] for row in rows],
        "group": [""] * count,
        "origin": ["labelled"] * count,
        "line": list(range(1, count + 1)),
        "task": [""] * count,
        "weight": [1.0] * count,
        "official_split": [""] * count,
    }
    write_table(path, pd.DataFrame(columns), PAIR_SCHEMA)


def read_settings() -> CleanSettings:
    """Those of the pipeline: section clean of params.yaml."""
    params = YAML(typ="safe").load(Path("params.yaml").read_text(encoding="utf-8"))
    return build(CleanSettings, params["clean"], "clean")


def languages_of(pair: str) -> LanguageSettings:
    """`en-zh` as settings."""
    codes = pair.split("-")
    if len(codes) != 2 or not all(codes):
        raise UserError(f"--pair {pair}: must be two language codes with a hyphen, such as en-zh.")
    return LanguageSettings(*codes)
