from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from click.testing import CliRunner

from textmill.commands import ui
from textmill.commands.cli import textmill


def test_the_ui_listens_on_this_machine_only_with_the_checks_of_mlflow_on(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[list[str]] = []
    monkeypatch.setattr(ui, "prepare_store", lambda: None)
    monkeypatch.setattr(ui, "require_free", lambda port: None)
    monkeypatch.setattr(os, "execv", lambda program, command: started.append(command))
    monkeypatch.setenv("MLFLOW_BACKEND_STORE_URI", "")  # which main sets: so that it is put back
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql://user:word@host/runs")
    ui.main("5001")
    (command,) = started
    options = [word for word in command if word.startswith("-")]
    assert options == ["-m", "--host", "--port", "--workers", "--default-artifact-root"], "no --gunicorn-opts, --allowed-hosts or the like"
    assert command[command.index("--host") + 1] == "127.0.0.1" and command[command.index("--port") + 1] == "5001"
    assert not [word for word in command if "word" in word], "every user of the machine can read the arguments of a process"


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0"])
def test_a_busy_port_is_named_at_once_with_another_one(address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[list[str]] = []
    monkeypatch.setattr(os, "execv", lambda program, command: started.append(command))
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    with socket.create_server((address, 0)) as server:
        port = server.getsockname()[1]
        done = CliRunner().invoke(textmill, ["ui", "--port", str(port)])
    assert done.exit_code == 2 and not started and not list(tmp_path.iterdir())
    assert done.stderr.startswith(f"ui: port {port} cannot be used (Address already in use). Use another one: `make ui PORT=5001`")
    assert done.stderr.count("\n") == 1


def test_a_free_port_stays_free_after_the_check() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    ui.require_free(port)
    ui.require_free(port)
