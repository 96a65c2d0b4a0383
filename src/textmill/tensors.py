"""safetensors files: the only format that weights, checkpoints and encoded text are stored in."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from textmill.errors import UserError
from textmill.files import replacing

# safetensors 0.8 writes two or more metadata keys in a random order, so everything goes into one.
_METADATA_KEY = "textmill"


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> None:
    """Write tensors and JSON metadata; the same content gives the same bytes in every process."""
    stored = {name: tensors[name].detach().cpu().contiguous() for name in sorted(tensors)}
    with replacing(path) as temporary:
        try:
            save_file(stored, temporary, metadata={_METADATA_KEY: json.dumps(metadata, sort_keys=True, ensure_ascii=False)})
        except SafetensorError as error:
            raise _refused(error) from None


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `write_tensors` wrote, memory-mapped: pages are loaded when they are used.

    Raises UserError if the file is missing or damaged.
    """
    with _opened(path) as file:
        return {name: file.get_tensor(name) for name in file.keys()}, _metadata(file)  # noqa: SIM118 (no iterator)


def read_metadata(path: Path) -> dict[str, Any]:
    """Read the metadata alone, a few kilobytes. Raises UserError if the file is missing or damaged."""
    with _opened(path) as file:
        return _metadata(file)


def _refused(error: SafetensorError) -> Exception:
    """The OSError that safetensors has made a text of."""
    number = re.search(r"os error (\d+)", str(error))
    return OSError(int(number[1]), os.strerror(int(number[1]))) if number else error


def _metadata(file: Any) -> dict[str, Any]:
    metadata: dict[str, Any] = json.loads((file.metadata() or {})[_METADATA_KEY])
    return metadata


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except FileNotFoundError:
        raise UserError(f"{path}: no such file. Run `dvc repro` or `dvc checkout` to make it.") from None
    except (SafetensorError, KeyError, json.JSONDecodeError, OSError) as error:
        reason = str(error).split("\n")[0]
        raise UserError(f"{path}: not a file of textmill ({reason}). Remove it and run `dvc checkout`.") from None
