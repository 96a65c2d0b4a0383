"""Serve the MLflow UI of the local store, reachable only from this machine."""

from __future__ import annotations

import os
import socket
import sys

from textmill.base.errors import UserError
from textmill.tracking.store import prepare_store, store_folder, tracking_uri


def main(port: int) -> None:
    require_free(port)
    experiment = prepare_store()
    print(f"Runs: http://127.0.0.1:{port}/#/experiments/{experiment}/runs?workflowType=machine_learning", flush=True)
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
    os.environ["MLFLOW_BACKEND_STORE_URI"] = tracking_uri()  # as an argument, all users of the machine could read its password
    command += ["--workers", "1"]  # enough for one person; the default of four takes four times as long to start on two cores
    command += ["--default-artifact-root", (store_folder() / "artifacts").as_uri()]
    os.execv(sys.executable, command)


def require_free(port: int) -> None:
    """Raise UserError if the server could not listen on this port. MLflow itself tries for a minute and then exits with 0."""
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError as error:
        other = 5001 if port != 5001 else 5002
        raise UserError(
            f"port {port} cannot be used ({os.strerror(error.errno or 0)}). Use another one: `make ui PORT={other}` or `textmill ui --port {other}`."
        ) from None
