"""Read and write safetensors files with checksums. All weights, checkpoints and encoded text are stored in this format.

The format itself has no checksum: of 50 flipped bits, 49 would be read as wrong values without an error.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from textmill.base.errors import UserError
from textmill.base.files import replacing, require_ordinary

# safetensors 0.8 writes metadata keys in random order, so there is only one key.
_METADATA_KEY = "textmill"


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> None:
    """Write tensors and JSON metadata with a SHA-256 of both. The same content always gives the same bytes."""
    stored = {name: tensors[name].detach().cpu().contiguous() for name in sorted(tensors)}
    # The digest is over the metadata as they will be read: JSON turns tuples into lists.
    content = json.loads(json.dumps({"metadata": metadata, "tensors_sha256": _tensors_sha256(stored)}))
    text = json.dumps(content | {"sha256": _json_sha256(content)}, sort_keys=True, ensure_ascii=False)
    with replacing(path) as temporary:
        try:
            save_file(stored, temporary, metadata={_METADATA_KEY: text})
        except SafetensorError as error:
            raise _refused(error) from None


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read and verify a file of `write_tensors`.

    The tensors are memory-mapped. Verification reads every page once; the system may then free these pages again.
    Raises UserError if the file is missing or damaged.
    """
    with _opened(path) as file:
        content = _content(file)
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (safe_open is not iterable)
        _require(_tensors_sha256(tensors) == content["tensors_sha256"], "the SHA-256 of its tensors is wrong")
        return tensors, content["metadata"]


def read_metadata(path: Path) -> dict[str, Any]:
    """Read and verify only the metadata, a few kilobytes.

    Raises UserError if the file is missing or its metadata are damaged.
    """
    with _opened(path) as file:
        metadata: dict[str, Any] = _content(file)["metadata"]
        return metadata


def _refused(error: SafetensorError) -> Exception:
    """Return the OSError that safetensors reports as text only, or the error itself."""
    number = re.search(r"os error (\d+)", str(error))
    return OSError(int(number[1]), os.strerror(int(number[1]))) if number else error


def _content(file: Any) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((file.metadata() or {}).get(_METADATA_KEY, "null"))
    _require(isinstance(content, dict) and set(content) == {"metadata", "tensors_sha256", "sha256"}, "it has no SHA-256")
    _require(content.pop("sha256") == _json_sha256(content), "the SHA-256 of its metadata is wrong")
    _require(isinstance(content["metadata"], dict), "its metadata is not a mapping")
    return content


def _require(is_right: bool, reason: str) -> None:
    if not is_right:
        raise SafetensorError(reason)


def _json_sha256(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode("utf-8")).hexdigest()


def _tensors_sha256(tensors: Mapping[str, Tensor]) -> str:
    """Hash names, types, shapes and bytes, in the order of the names."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode("utf-8"))
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    require_ordinary(path)
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except FileNotFoundError:
        raise UserError(f"{path}: no such file. Run `dvc repro` or `dvc checkout` to make it.") from None
    except (SafetensorError, ValueError, RecursionError, OSError) as error:
        reason = str(error).split("\n")[0]
        raise UserError(
            f"{path}: damaged, or not a file of this version of textmill ({reason}). Remove it and run `dvc checkout` or `dvc repro`."
        ) from None
