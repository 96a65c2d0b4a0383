"""manifest.json of an exported model: the SHA-256 of every file that is loaded.

It shows damage and files that do not belong together. It does not show who wrote it: whoever can change a file can change it too.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from textmill.base.errors import UserError
from textmill.base.files import read_json, sha256_of

MANIFEST = "manifest.json"
MODEL_FILES = ("config.json", "generation.json", "model.bin", "shared_vocabulary.json", "tokenizer.model")

# Files that CTranslate2 would take too, in place of or beside the listed ones.
_TAKEN_UNASKED = re.compile(r".*vocabulary\.(json|txt)|vmap\.txt")


def require_as_listed(folder: Path, names: Sequence[str]) -> None:
    """Raise UserError unless the manifest lists `names` and each listed file is there with the hash that it has there."""
    listed = _listed(folder / MANIFEST)
    for missing in sorted(set(names) - set(listed)):
        raise UserError(f"{folder / MANIFEST}: does not list {missing}, so nobody knows whether it is right. Run `dvc repro export`.")
    for path in sorted(folder.iterdir()):
        if path.name not in listed and _TAKEN_UNASKED.fullmatch(path.name):
            raise UserError(f"{path}: is not in {MANIFEST}, and CTranslate2 would load it. Remove it.")
    for name, sha256 in sorted(listed.items()):
        path = folder / name
        if not path.is_file():
            raise UserError(f"{path}: no such file. Run `dvc repro export` or `dvc checkout`.")
        if sha256_of(path) != sha256:
            raise UserError(f"{path}: differs from {MANIFEST}: it is damaged or was changed. Remove it and run `dvc checkout`.")


def _listed(path: Path) -> dict[str, str]:
    """Names and hashes. Raises UserError if the file is anything but {"files": {name in this folder: SHA-256}}."""
    content: Any = read_json(path)
    files = content.get("files") if isinstance(content, dict) else None
    if not isinstance(files, dict) or not all(
        re.fullmatch(r"[\w.-]+", name) and name.strip(".") and isinstance(sha256, str) and re.fullmatch("[0-9a-f]{64}", sha256)
        for name, sha256 in files.items()
    ):
        raise UserError(f'{path}: is not of the form {{"files": {{name: SHA-256}}}}. Remove it and run `dvc checkout`.')
    return files
