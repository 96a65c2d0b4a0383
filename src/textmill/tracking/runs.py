"""MLflow as a view of what the stages do: never an input, never an output, never fatal.

The only module besides serving/pyfunc_model.py that imports mlflow. Every stage is a child run of one parent run for
the rebuild (one `dvc repro`); `track` completes the parent. So is every trial, of one parent run for the search. Whatever fails here costs one line on stderr.

Environment: MLFLOW_TRACKING_URI (default: an SQLite store under .mlflow/ in the project), TEXTMILL_TRACKING=off
switches tracking off, TEXTMILL_REBUILD joins several dvc processes into one rebuild, TEXTMILL_TRACKING_SECONDS is how long a stage
waits for a server in all (default: 30; ten times that to publish).
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import math
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlparse

from textmill.base import paths
from textmill.base.errors import UserError
from textmill.base.files import md5_of
from textmill.base.lifetime import is_dvc, process_key
from textmill.tracking import left_open
from textmill.tracking.notes import Notes
from textmill.tracking.patience import Patience
from textmill.tracking.redaction import redacted

T = TypeVar("T")

EXPERIMENT = "textmill"
_PARAM_CHARACTERS = 6000  # MLflow refuses longer values
_BATCH_METRICS = 1000  # MLflow's limit for one log_batch
_SECONDS_BETWEEN_FLUSHES = 10.0
_SECONDS_TO_WAIT, _TIMES_TO_PUBLISH = 30.0, 10  # for a server, in all that one process does; what is published has models in it
# Defaults retry for 246 s before a dead server is given up. Set before mlflow is imported, which reads some at import.
_ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "GIT_PYTHON_REFRESH": "quiet",
}


class Connection:
    """An open store: MlflowClient with the ids of the experiment and of the parent run of this rebuild or search.

    Only the client with explicit ids is used: the fluent API has a state of its own, and MLFLOW_RUN_ID in the
    environment would turn a child into that run.
    """

    def __init__(self, client: Any, experiment_id: str, parent_id: str, role: str) -> None:
        """role: of the parent run, rebuild or search."""
        self.client, self.experiment_id, self.parent_id, self.role = client, experiment_id, parent_id, role
        self.patience: Patience | None = None
        self.notes: Notes | None = None

    def call(self, action: Callable[[], T]) -> T:
        """Do something with the store. Raises TimeoutError for a server that takes too long; it is not asked again in this rebuild."""
        try:
            return action() if self.patience is None else self.patience.call(action)
        except Exception as error:
            is_down = isinstance(error, TimeoutError | ConnectionError) or getattr(error, "error_code", "") == "INTERNAL_ERROR"
            if self.notes is not None and is_down:
                self.notes.give_up()
            raise

    def say_lost(self, error: Exception) -> None:
        """Print the one line that a failure costs."""
        _say_lost(error, self.role)


class RunLog:
    """The run of one stage. Every method does nothing once something has failed, and never raises because of MLflow."""

    def __init__(self, connection: Connection | None, run_id: str = "") -> None:
        self._connection, self._run_id = connection, run_id
        self._waiting: list[tuple[str, float, int, int]] = []
        self._last_flush = time.monotonic()

    def metrics(self, values: Mapping[str, Any], step: int = 0) -> None:
        """Log numbers; mappings inside are flattened to a.b, and what is no finite number is left out."""
        now = int(time.time() * 1000)
        self._waiting += [(metric_name(name), value, now, step) for name, value in flat_numbers(values)]
        if len(self._waiting) >= _BATCH_METRICS or time.monotonic() - self._last_flush > _SECONDS_BETWEEN_FLUSHES:
            self.flush()

    def artifact(self, path: Path, folder: str = "") -> None:
        """Keep a copy of a file with the run."""
        self._try(lambda c: c.client.log_artifact(self._run_id, str(path), folder or None))

    def artifacts(self, folder: Path, name: str) -> None:
        """Keep copies of all files of a folder under `name`; an empty folder leaves nothing."""
        for path in sorted(folder.iterdir()):
            self.artifact(path, name)

    def dataset(self, path: Path, name: str, rows: int) -> None:
        """Say which data the stage read. Its digest is the file's MD5: the hash that dvc.lock has."""
        self._try(lambda c: _log_dataset(c, self._run_id, path, name, rows))

    def tag(self, name: str, value: str) -> None:
        """Set a tag of the run."""
        self._try(lambda c: c.client.set_tag(self._run_id, name, redacted(value)))

    def flush(self) -> None:
        """Send the metrics that wait, in as few requests as MLflow allows."""
        waiting, self._waiting = self._waiting, []
        self._last_flush = time.monotonic()
        for start in range(0, len(waiting), _BATCH_METRICS):
            batch = waiting[start : start + _BATCH_METRICS]
            self._try(lambda c, batch=batch: _log_metrics(c, self._run_id, batch))  # type: ignore[misc]

    def end(self, status: str) -> None:
        """Send the rest and close the run as FINISHED, FAILED or KILLED; a stage that has not finished closes its rebuild likewise.

        Nobody else would: `track` does not run then. Stages beside it may go on, and `track` may still finish the rebuild.
        """
        self.flush()
        self._try(lambda c: c.client.set_terminated(self._run_id, status))
        if status != "FINISHED":
            self._try(lambda c: c.client.set_terminated(c.parent_id, status) if c.role == "rebuild" else None)

    def end_children(self, status: str, tags: Mapping[str, str]) -> None:
        """Give the runs below this one that still are RUNNING these tags, and close them."""
        self._try(lambda c: _end_children(c, self._run_id, status, tags))

    def _try(self, action: Callable[[Connection], object]) -> None:
        if self._connection is None:
            return
        connection = self._connection
        try:
            connection.call(lambda: action(connection))
        except Exception as error:
            self._connection = None
            connection.say_lost(error)


@contextmanager
def stage_run(
    stage: str,
    params: Mapping[str, Any],
    input_files: Mapping[str, str],
    inputs_key: str,
    environment: Mapping[str, str] | None = None,
) -> Iterator[RunLog]:
    """Open the run of a stage, as a child of this rebuild's run, for the body of a with statement.

    params: as in params.yaml, nested. input_files: MD5 of the files that the stage depends on, by path.
    inputs_key: hash of all that determines the result; `track` finds runs by it. environment: what else arithmetic depends on.
    An exception in the body closes the run as FAILED (KILLED for SystemExit, KeyboardInterrupt and the like) and goes on.
    """
    log = _open_stage(stage, params, input_files, inputs_key, environment or {})
    try:
        yield log
    except Exception:
        log.end("FAILED")
        raise
    except BaseException:
        log.end("KILLED")
        raise
    log.end("FINISHED")


def connect(to_publish: bool = False) -> Connection | None:
    """Open the store and this rebuild's parent run, creating both if need be; None, after one line, if that fails.

    None, without a line, for a server that this rebuild has given up before. to_publish: it is asked all the same, and given more time.
    """
    return _connected("rebuild", rebuild_key, to_publish)


def connect_search(study: str) -> Connection | None:
    """The same for the parent run of a search, which all processes that work on the study share."""
    return _connected("search", lambda: study, False)


def close_left_open() -> int:
    """Close as KILLED the runs of this machine's processes that are gone; returns how many. Makes no store, and says if it fails."""
    return _asked(left_open.close_left_open, 0)


def runs_left_open() -> list[str]:
    """The names of the runs that `close_left_open` would close."""
    return _asked(lambda client, experiment: [str(run.info.run_name) for run in left_open.runs_left_open(client, experiment)], [])


def search_run(connection: Connection | None) -> RunLog:
    """The parent run of a search, to log its best result and to end it."""
    return RunLog(connection, connection.parent_id if connection is not None else "")


def trial_run(connection: Connection | None, name: str, params: Mapping[str, Any]) -> RunLog:
    """Open the run of one trial of a search, a child of the search's run. params: what was drawn, by full key."""
    return _open_child(connection, name, params, {"textmill.role": "trial", "state": "running"})


def tracking_uri() -> str:
    """MLFLOW_TRACKING_URI, or the SQLite store of this project with its absolute path."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{store_folder() / 'mlflow.db'}"


def store_folder() -> Path:
    """Where the embedded store lies: in the real project, also when DVC runs an experiment in a temporary copy."""
    return (Path(os.environ.get("DVC_ROOT", ".")) / ".mlflow").resolve()


def was_opened() -> bool:
    """Has any process of this rebuild opened its parent run, and not given the store up since? Asked without mlflow."""
    notes = _notes("rebuild", rebuild_key())
    return bool(notes.run_id()) and not notes.is_lost()


def prepare_store() -> None:
    """Create or migrate the store under the lock: done at once by several processes, it destroys an SQLite file."""
    with _locked_store():
        _experiment_id(_client())


def flat_numbers(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    """All finite numbers of nested mappings as ("a.b", number); lists and texts are left out."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from flat_numbers(value, f"{prefix}{name}.")
        elif isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
            yield f"{prefix}{name}", float(value)


def flat_params(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested params as {"train.max_steps": "2400"}; lists as JSON; cut where MLflow would refuse them."""
    flat: dict[str, str] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat |= flat_params(value, f"{prefix}{name}.")
        else:
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            flat[f"{prefix}{name}"] = redacted(text)[:_PARAM_CHARACTERS]
    return flat


def metric_name(name: str) -> str:
    """`name` with everything that MLflow does not accept in a metric's name replaced by an underscore."""
    return re.sub(r"[^A-Za-z0-9_\-. /]", "_", name)


def rebuild_key() -> str:
    """What the stages of one rebuild have in common: TEXTMILL_REBUILD, or the dvc process above this one."""
    if given := os.environ.get("TEXTMILL_REBUILD"):
        return given
    import psutil

    for process in psutil.Process().parents():
        with suppress(psutil.Error):
            if is_dvc(process.cmdline()) and (key := process_key(process.pid)):
                return key
    return str(process_key(os.getpid()))


def git_state() -> dict[str, str]:
    """Commit and dirty flag as tags, as far as git tells them; no remote address, which may hold a password.

    The record of environments does not count: on another machine the first stage changes it.
    """
    commit = _git("rev-parse", "HEAD")
    changes = _git("status", "--porcelain", "--", ":/", f":(top,exclude){paths.ENVIRONMENT.as_posix()}")
    found = {"git.commit": commit, "git.dirty": None if changes is None else str(bool(changes)).lower()}
    return {name: value for name, value in found.items() if value}


def environment_tags(environment: Mapping[str, str]) -> dict[str, str]:
    """`environment` as tags of a run or of a version of a model."""
    return {f"environment.{name}": redacted(value) for name, value in environment.items()}


def log_metrics_batch(connection: Connection, run_id: str, metrics: list[tuple[str, float, int, int]]) -> None:
    """Log (name, value, milliseconds, step) in as few requests as MLflow allows."""
    for start in range(0, len(metrics), _BATCH_METRICS):
        _log_metrics(connection, run_id, metrics[start : start + _BATCH_METRICS])


def _open_stage(
    stage: str, params: Mapping[str, Any], input_files: Mapping[str, str], inputs_key: str, environment: Mapping[str, str]
) -> RunLog:
    tags = {
        "textmill.role": "stage",
        "dvc.stage": stage,
        "dvc.inputs_key": inputs_key,
        "dvc.inputs": json.dumps(dict(input_files), sort_keys=True)[:5000],
        **environment_tags(environment),
    }
    return _open_child(connect(), stage, params, tags)


def _open_child(connection: Connection | None, name: str, params: Mapping[str, Any], tags: Mapping[str, str]) -> RunLog:
    if connection is None:
        return RunLog(None)
    from mlflow.entities import Param, RunTag

    tags = {"mlflow.parentRunId": connection.parent_id, **tags, "textmill.process": this_process(), **git_state()}

    def create() -> str:
        run_id = str(connection.client.create_run(connection.experiment_id, run_name=name, tags=tags).info.run_id)
        entries = [Param(key, value) for key, value in flat_params(params).items()]
        connection.client.log_batch(run_id, params=entries, tags=[RunTag("textmill", "1")])
        return run_id

    try:
        return RunLog(connection, connection.call(create))
    except Exception as error:
        connection.say_lost(error)
        return RunLog(None)


def _client() -> Any:
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    for name in ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME"):
        os.environ.pop(name, None)
    import logging

    logging.getLogger("alembic").setLevel(logging.WARNING)
    import mlflow

    logging.getLogger("mlflow.store").setLevel(logging.CRITICAL)  # it logs an error with 60 lines of traceback, and raises it as well
    mlflow.set_tracking_uri(tracking_uri())
    return mlflow.MlflowClient(tracking_uri())


def _asked(question: Callable[[Any, str], T], otherwise: T) -> T:
    """The answer of client and experiment; `otherwise` if there is no store, or, after one line, if it fails."""
    if os.environ.get("TEXTMILL_TRACKING") == "off" or (_is_embedded() and not (store_folder() / "mlflow.db").is_file()):
        return otherwise

    def ask() -> T:
        experiment = client.get_experiment_by_name(EXPERIMENT)
        return question(client, str(experiment.experiment_id)) if experiment is not None else otherwise

    try:
        client = _client()
        return ask() if _is_embedded() else _patience(1).call(ask)
    except Exception as error:
        _say_lost(error, "closing")
        return otherwise


def _connected(role: str, key: Callable[[], str], to_publish: bool) -> Connection | None:
    if os.environ.get("TEXTMILL_TRACKING") == "off":
        return None
    notes = None
    try:
        name = key()
        notes = _notes(role, name)
        if _is_embedded():
            with _locked_store():
                return _connect(_client(), role, name, notes)
        if notes.is_lost() and not to_publish:
            return None
        patience = _patience(_TIMES_TO_PUBLISH if to_publish else 1)
        if not patience.call(lambda: _is_reachable(tracking_uri())):
            raise ConnectionError("no answer")
        client = _client()
        connection = patience.call(lambda: _connect(client, role, name, notes))
        connection.patience, connection.notes = patience, notes if role == "rebuild" else None
        notes.hope()
        return connection
    except Exception as error:
        if notes is not None and role == "rebuild" and not _is_embedded():
            notes.give_up()
        _say_lost(error, role)
        return None


def _connect(client: Any, role: str, key: str, notes: Notes) -> Connection:
    experiment = _experiment_id(client)
    known = notes.run_id() if role == "rebuild" else ""  # a search may be older than a store that was emptied since
    if not known:
        found = client.search_runs([experiment], f"tags.`textmill.{role}` = '{key}' and tags.`textmill.role` = '{role}'", max_results=1)
        known = found[0].info.run_id if found else ""
        if known and role == "rebuild":
            notes.claim(known)
    if role == "search" or not known:  # a search is gone on with: what its killed processes have left is found by the next one
        left_open.close_left_open(client, experiment, but=known)
    return Connection(client, experiment, known or _new_parent(client, experiment, role, key, notes), role)


def _new_parent(client: Any, experiment: str, role: str, key: str, notes: Notes) -> str:
    """Create the parent run. Of several processes that do it at once, the first one's counts, and the others delete theirs."""
    tags = {"textmill.role": role, f"textmill.{role}": key, "textmill.process": this_process(), **git_state()}
    mine = str(client.create_run(experiment, run_name=time.strftime(f"{role} %Y-%m-%d %H:%M:%S"), tags=tags).info.run_id)
    first = notes.claim(mine)
    if first == mine:
        return mine
    if client.get_run(first).info.lifecycle_stage != "active":
        return notes.replace(mine)
    client.delete_run(mine)
    return first


def _notes(role: str, key: str) -> Notes:
    return Notes(store_folder() / "notes", tracking_uri(), role, key)


def _patience(times: int) -> Patience:
    return Patience(times * float(os.environ.get("TEXTMILL_TRACKING_SECONDS") or _SECONDS_TO_WAIT))


def _experiment_id(client: Any) -> str:
    experiment = client.get_experiment_by_name(EXPERIMENT)
    if experiment is not None:
        return str(experiment.experiment_id)
    location = (store_folder() / "artifacts").as_uri() if not tracking_uri().startswith("http") else None
    try:
        return str(client.create_experiment(EXPERIMENT, artifact_location=location))
    except Exception:  # another process was faster
        experiment = client.get_experiment_by_name(EXPERIMENT)
        if experiment is None:
            raise
        return str(experiment.experiment_id)


def _end_children(connection: Connection, parent: str, status: str, tags: Mapping[str, str]) -> None:
    wanted = f"attributes.status = 'RUNNING' and tags.`mlflow.parentRunId` = '{parent}'"
    for child in connection.client.search_runs([connection.experiment_id], wanted, max_results=1000):
        for name, value in tags.items():
            connection.client.set_tag(child.info.run_id, name, value)
        connection.client.set_terminated(child.info.run_id, status)


def this_process() -> str:
    """The tag `textmill.process` of a run: who must be alive for it to be RUNNING."""
    return f"{socket.gethostname()} {process_key(os.getpid())}"


def _is_embedded() -> bool:
    """Is the store a file of this machine? Then first contact is locked; else everything has a deadline."""
    return tracking_uri().startswith(("sqlite:", "file:", "/", "."))


@contextmanager
def _locked_store() -> Iterator[None]:
    folder = store_folder()
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _is_reachable(uri: str) -> bool:
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


def _log_metrics(connection: Connection, run_id: str, batch: list[tuple[str, float, int, int]]) -> None:
    from mlflow.entities import Metric

    connection.client.log_batch(run_id, metrics=[Metric(name, value, when, step) for name, value, when, step in batch])


def _log_dataset(connection: Connection, run_id: str, path: Path, name: str, rows: int) -> None:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    dataset = Dataset(
        name=name,
        digest=md5_of(path),
        source_type="local",
        source=json.dumps({"uri": str(path)}),
        profile=json.dumps({"num_rows": rows}),
    )
    tags = [InputTag("mlflow.data.context", os.environ.get("DVC_STAGE", "stage"))]
    connection.client.log_inputs(run_id, [DatasetInput(dataset, tags)])


def _say_lost(error: Exception, role: str) -> None:
    shown = redacted(tracking_uri()) if urlparse(tracking_uri()).netloc else "the MLflow store"
    reason = redacted(error).strip().split("\n")[0][:200] or type(error).__name__
    later = " Publish later with `dvc repro -f -s track`." if role == "rebuild" else ""
    print(f"tracking: {shown} failed ({reason}); going on without.{later}", file=sys.stderr, flush=True)


def _git(*arguments: str) -> str | None:
    """What git prints; None if it fails (no repository, no commit yet) or is not there."""
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


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
        return _patience(_TIMES_TO_PUBLISH).call(lambda: str(artifacts.download_artifacts(artifact_uri=address, dst_path=str(folder))))
    except Exception as error:
        reason = redacted(error).split("\n")[0]
        raise UserError(f"{address}: MLflow does not give it ({reason}).") from None


def mlflow_module() -> Any:
    """mlflow, imported late (2 s) and pointed at this project's store."""
    _client()
    import mlflow

    return mlflow
