"""Where MLflow keeps what this project tells it: a server, or an SQLite file of the project."""

from __future__ import annotations

import fcntl
import hashlib
import os
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlparse

from textmill.base.errors import UserError
from textmill.tracking import left_open
from textmill.tracking.moved import follow_move
from textmill.tracking.patience import Patience
from textmill.tracking.redaction import redacted

T = TypeVar("T")


EXPERIMENT = "textmill"
_EXPERIMENT_TAGS = {
    "mlflow.experimentKind": "custom_model_development",  # without it the UI opens its pages for traces of language models
    "mlflow.note.content": (
        "Rebuilds of this project. One run per rebuild (`dvc repro`), with one child run per stage; one run per hyper-parameter search"
        " (`textmill tune`), with one child run per trial. To compare rebuilds, select their runs and choose Compare."
    ),
}


_SECONDS_TO_WAIT, TIMES_TO_PUBLISH = 30.0, 10  # for a server, in all that one process does; what is published has models in it


# Defaults retry for 246 s before a dead server is given up. Set before mlflow is imported, which reads some at import.
_ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "GIT_PYTHON_REFRESH": "quiet",
}


def close_left_open() -> int:
    """Close as KILLED the runs of this machine's processes that are gone; returns how many. Makes no store, and says if it fails."""
    return _asked(left_open.close_left_open, 0)


def runs_left_open() -> list[str]:
    """The names of the runs that `close_left_open` would close."""
    return _asked(lambda client, experiment: [str(run.info.run_name) for run in left_open.runs_left_open(client, experiment)], [])


def tracking_uri() -> str:
    """MLFLOW_TRACKING_URI, or the SQLite store of this project with its absolute path."""
    return os.environ.get("MLFLOW_TRACKING_URI") or _own_uri()


def _own_uri() -> str:
    return f"sqlite:///{_database()}"


def _database() -> Path:
    return store_folder() / "mlflow.db"


def store_folder() -> Path:
    """Where the embedded store lies: in the real project, also when DVC runs an experiment in a temporary copy."""
    return (Path(os.environ.get("DVC_ROOT", ".")) / ".mlflow").resolve()


def prepare_store() -> str:
    """Create or migrate the store under the lock: done at once by several processes, it destroys an SQLite file.

    Returns the id of the experiment.
    """
    with locked_store():
        return experiment_of(open_client())


def open_client() -> Any:
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    for name in ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME"):
        os.environ.pop(name, None)
    import logging

    logging.getLogger("alembic").setLevel(logging.WARNING)
    import mlflow

    logging.getLogger("mlflow.store").setLevel(logging.CRITICAL)  # it logs an error with 60 lines of traceback, and raises it as well
    for name in ("mlflow.pyfunc", "mlflow.system_metrics.system_metrics_monitor"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    mlflow.set_tracking_uri(tracking_uri())
    return mlflow.MlflowClient(tracking_uri())


def _asked(question: Callable[[Any, str], T], otherwise: T) -> T:
    """The answer of client and experiment; `otherwise` if there is no store, or, after one line, if it fails."""
    if os.environ.get("TEXTMILL_TRACKING") == "off" or (is_embedded() and not _database().is_file()):
        return otherwise

    def ask() -> T:
        experiment = client.get_experiment_by_name(EXPERIMENT)
        return question(client, str(experiment.experiment_id)) if experiment is not None else otherwise

    try:
        client = open_client()
        return ask() if is_embedded() else patience_for(1).call(ask)
    except Exception as error:
        say_lost(error, "closing")
        return otherwise


def patience_for(times: int) -> Patience:
    return Patience(times * float(os.environ.get("TEXTMILL_TRACKING_SECONDS") or _SECONDS_TO_WAIT))


def experiment_of(client: Any) -> str:
    location = (store_folder() / "artifacts").as_uri() if not tracking_uri().startswith("http") else None
    experiment = client.get_experiment_by_name(EXPERIMENT)
    if experiment is not None:
        for name in _EXPERIMENT_TAGS.keys() - experiment.tags.keys():  # made by an earlier version, or by hand
            client.set_experiment_tag(experiment.experiment_id, name, _EXPERIMENT_TAGS[name])
        if is_own_store() and experiment.artifact_location != location:
            follow_move(_database(), experiment.artifact_location, str(location))
        return str(experiment.experiment_id)
    try:
        return str(client.create_experiment(EXPERIMENT, location, _EXPERIMENT_TAGS))
    except Exception:  # another process was faster
        experiment = client.get_experiment_by_name(EXPERIMENT)
        if experiment is None:
            raise
        return str(experiment.experiment_id)


def is_embedded() -> bool:
    """Is the store a file of this machine? Then first contact is locked; else everything has a deadline."""
    return tracking_uri().startswith(("sqlite:", "file:", "/", "."))


def is_own_store() -> bool:
    """Is the store the SQLite file of this project? Nothing else may be changed behind the back of its owner."""
    return tracking_uri() == _own_uri()


@contextmanager
def locked_store() -> Iterator[None]:
    folder = store_folder()
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def is_reachable(uri: str) -> bool:
    """Does a server answer within a second? Stores that are files always do."""
    address = urlparse(uri)
    if address.scheme not in ("http", "https"):
        return True
    try:
        port = address.port or (443 if address.scheme == "https" else 80)
    except ValueError:  # whose message would show a piece of a password
        raise ConnectionError("no address: / : and @ of a password must be percent-encoded") from None
    with suppress(OSError), socket.create_connection((address.hostname or "", port), timeout=1.0):
        return True
    return False


def say_lost(error: Exception, role: str) -> None:
    shown = redacted(tracking_uri()) if urlparse(tracking_uri()).netloc else "the MLflow store"
    reason = redacted(error).strip().split("\n")[0][:200] or type(error).__name__
    later = " Publish later with `dvc repro -f -s track`." if role == "rebuild" else ""
    print(f"tracking: {shown} failed ({reason}); going on without.{later}", file=sys.stderr, flush=True)


def fetched(address: str) -> str:
    """A local path for `address`: itself, unless it is one of MLflow's (`runs:/...`, `models:/...`), which is downloaded.

    Raises UserError if MLflow does not give it: unlike all else here it is an input.
    """
    if not address.startswith(("runs:/", "models:/")):
        return address
    folder = store_folder() / "fetched" / hashlib.sha256(address.encode("utf-8")).hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        artifacts = mlflow_module().artifacts
        return patience_for(TIMES_TO_PUBLISH).call(lambda: str(artifacts.download_artifacts(artifact_uri=address, dst_path=str(folder))))
    except Exception as error:
        reason = redacted(error).split("\n")[0]
        raise UserError(f"{address}: MLflow does not give it ({reason}).") from None


def mlflow_module() -> Any:
    """mlflow, imported late (2 s) and pointed at this project's store."""
    open_client()
    import mlflow

    return mlflow
