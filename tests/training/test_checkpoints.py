from __future__ import annotations

from pathlib import Path

import pytest
import torch

from textmill.training.checkpoints import CheckpointFile


def test_a_damaged_checkpoint_is_not_used_and_said_and_a_missing_one_is_no_news(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
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
