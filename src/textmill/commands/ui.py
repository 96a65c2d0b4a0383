"""Serve the MLflow UI of the local store, reachable only from this machine."""

from __future__ import annotations

import os
import sys

from textmill.tracking.store import prepare_store, store_folder, tracking_uri


def main(port: int) -> None:
    experiment = prepare_store()
    print(f"Runs: http://127.0.0.1:{port}/#/experiments/{experiment}/runs?workflowType=machine_learning", flush=True)
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
    os.environ["MLFLOW_BACKEND_STORE_URI"] = tracking_uri()  # as an argument, all users of the machine could read its password
    command += ["--workers", "1"]  # enough for one person; the default of four takes four times as long to start on two cores
    command += ["--default-artifact-root", (store_folder() / "artifacts").as_uri()]
    os.execv(sys.executable, command)
