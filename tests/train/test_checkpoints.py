from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from textmill.train.checkpoints import CheckpointFile


def test_a_damaged_checkpoint_is_reported_and_not_used_and_a_missing_one_is_not_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = CheckpointFile(tmp_path, "0123")
    assert checkpoint.load() is None and capsys.readouterr().err == ""
    checkpoint.save({"a": torch.arange(100.0)}, {"step": 7})
    loaded = checkpoint.load()
    assert loaded is not None and loaded[1] == {"step": 7}
    content = bytearray(checkpoint.path.read_bytes())
    content[-200] ^= 1
    checkpoint.path.write_bytes(content)
    assert checkpoint.load() is None
    (line,) = capsys.readouterr().err.rstrip("\n").split("\n")
    assert "starts from the beginning" in line and str(checkpoint.path) in line and "SHA-256" in line


class Touch:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[[Path], None], tuple[Path]]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("is_of_torch", [True, False])
def test_a_pickle_in_the_place_of_a_checkpoint_is_not_run(tmp_path: Path, capsys: pytest.CaptureFixture[str], is_of_torch: bool) -> None:
    checkpoint, made = CheckpointFile(tmp_path, "0123"), tmp_path / "made"
    if is_of_torch:
        torch.save({"a": Touch(made)}, checkpoint.path)
    else:
        checkpoint.path.write_bytes(pickle.dumps({"a": Touch(made)}))
    assert checkpoint.load() is None
    assert not made.exists()
    assert "starts from the beginning" in capsys.readouterr().err
    with checkpoint.path.open("rb") as file:  # torch reads a path that ends in .safetensors as such
        torch.load(file, weights_only=False) if is_of_torch else pickle.load(file)
    assert made.exists(), "the pickle does nothing: then this test shows nothing"
