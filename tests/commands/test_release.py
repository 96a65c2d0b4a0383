from __future__ import annotations

from pathlib import Path

import pytest

from textmill.base.command import one_line_errors
from textmill.commands import release


@pytest.mark.parametrize(
    ("address", "tracking", "version"),
    [("http://127.0.0.1:9", "", None), ("", "off", None), ("", "", "4")],
    ids=["down", "off", "registered"],
)
def test_a_release_fails_in_one_line_unless_the_model_is_registered(
    address: str,
    tracking: str,
    version: str | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in (("MLFLOW_TRACKING_URI", address), ("TEXTMILL_TRACKING", tracking), ("DVC_ROOT", str(tmp_path))):
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("TEXTMILL_REBUILD", "release")
    monkeypatch.setattr(release, "DvcRuns", lambda: lambda *_: 0)  # as track ends, whatever MLflow does
    if version:
        monkeypatch.setattr(release, "registered_version", lambda *_: version)
        assert release.main() == 0 and "is version 4 of textmill-en-zh" in capsys.readouterr().out
        return
    with pytest.raises(SystemExit) as end, one_line_errors("release"):
        release.main()
    said = capsys.readouterr().err.strip().split("\n")
    assert end.value.code == 2
    assert said[-1].startswith("release: the model textmill-en-zh was not registered.") and len(said) <= 2
