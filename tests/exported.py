"""Exported models with another generation.json."""

from __future__ import annotations

import shutil
from pathlib import Path

from textmill.base.files import read_json, sha256_of, write_json
from textmill.serving.text_model import TextModel


def with_generation(folder: Path, target: Path, **changes: object) -> TextModel:
    """A copy of the model with another generation.json. None removes a key."""
    shutil.copytree(folder, target)
    content = {name: value for name, value in (read_json(target / "generation.json") | changes).items() if value is not None}
    write_json(target / "generation.json", content)
    manifest = read_json(target / "manifest.json")
    manifest["files"]["generation.json"] = sha256_of(target / "generation.json")
    write_json(target / "manifest.json", manifest)
    return TextModel.load(target)
