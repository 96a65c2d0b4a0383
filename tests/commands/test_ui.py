from __future__ import annotations

import os

import pytest

from textmill.commands import ui


def test_the_ui_listens_on_this_machine_only_with_the_checks_of_mlflow_on(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[list[str]] = []
    monkeypatch.setattr(ui, "prepare_store", lambda: None)
    monkeypatch.setattr(os, "execv", lambda program, command: started.append(command))
    monkeypatch.setenv("MLFLOW_BACKEND_STORE_URI", "")  # which main sets: so that it is put back
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql://user:word@host/runs")
    ui.main("5001")
    (command,) = started
    options = [word for word in command if word.startswith("-")]
    assert options == ["-m", "--host", "--port", "--workers", "--default-artifact-root"], "no --gunicorn-opts, --allowed-hosts or the like"
    assert command[command.index("--host") + 1] == "127.0.0.1" and command[command.index("--port") + 1] == "5001"
    assert not [word for word in command if "word" in word], "every user of the machine can read the arguments of a process"
