"""Open the MLflow UI on the embedded store, for this machine only: python -m scripts.ui [PORT]"""

from __future__ import annotations

import os
import sys

from textmill.base import command
from textmill.tracking.runs import prepare_store, store_folder, tracking_uri


def main(port: str) -> None:
    prepare_store()
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", port]
    os.environ["MLFLOW_BACKEND_STORE_URI"] = tracking_uri()  # as an argument, every user of the machine could read its password
    command += ["--workers", "1"]  # one person looks: four, the default, take four times as long to start on two cores
    command += ["--default-artifact-root", (store_folder() / "artifacts").as_uri()]
    os.execv(sys.executable, command)


if __name__ == "__main__":
    command.run("ui", lambda: main(sys.argv[1] if len(sys.argv) > 1 else "5000"))
