from __future__ import annotations

from pathlib import Path

import pytest

from textmill.base.command import one_line_errors
from textmill.commands import release


def set_address(monkeypatch: pytest.MonkeyPatch, address: str | None) -> None:
    if address is None:
        monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    else:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)


@pytest.mark.parametrize(
    ("address", "tracking", "version"),
    [("http://127.0.0.1:9", "", None), (None, "off", None), (None, "", "4")],
    ids=["down", "off", "registered"],
)
def test_a_release_fails_in_one_line_unless_the_model_is_registered(
    address: str | None,
    tracking: str,
    version: str | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    set_address(monkeypatch, address)
    monkeypatch.delenv("CI", raising=False)
    for name, value in (("TEXTMILL_TRACKING", tracking), ("DVC_ROOT", str(tmp_path))):
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


@pytest.mark.parametrize(("address", "ci"), [("", ""), ("", "true"), (None, "true")], ids=["empty", "empty in CI", "unset in CI"])
def test_a_release_into_a_store_that_is_thrown_away_fails_before_anything_runs(
    address: str | None, ci: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    set_address(monkeypatch, address)
    monkeypatch.setenv("CI", ci)
    monkeypatch.setattr(release, "DvcRuns", lambda: pytest.fail("dvc was started"))
    with pytest.raises(SystemExit) as end, one_line_errors("release"):
        release.main()
    said = capsys.readouterr().err
    assert end.value.code == 2
    assert said.startswith("release: MLFLOW_TRACKING_URI is not set") and said.count("\n") == 1
