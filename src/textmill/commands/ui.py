"""The MLflow UI on the embedded store, for this machine only."""

from __future__ import annotations

import os
import sys

from textmill.tracking.store import prepare_store, store_folder, tracking_uri


def main(port: int) -> None:
    experiment = prepare_store()
    print(f"Runs: http://127.0.0.1:{port}/#/experiments/{experiment}/runs?workflowType=machine_learning", flush=True)
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
    os.environ["MLFLOW_BACKEND_STORE_URI"] = tracking_uri()  # as an argument, every user of the machine could read its password
    command += ["--workers", "1"]  # one person looks: four, the default, take four times as long to start on two cores
    command += ["--default-artifact-root", (store_folder() / "artifacts").as_uri()]
    os.execv(sys.executable, command)
