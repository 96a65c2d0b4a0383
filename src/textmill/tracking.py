"""MLflow as a view of what the stages do: never an input, never an output, never fatal.

The only module besides serving/pyfunc_model.py that imports mlflow. Every stage is a child run of one parent run for
the rebuild (one `dvc repro`); `track` completes the parent. So is every trial, of one parent run for the search. Whatever fails here costs one line on stderr.

Environment: MLFLOW_TRACKING_URI (default: an SQLite store under .mlflow/ in the project), TEXTMILL_TRACKING=off
switches tracking off, TEXTMILL_REBUILD joins several dvc processes into one rebuild.
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
from typing import Any
from urllib.parse import urlparse

from textmill import paths
from textmill.errors import UserError
from textmill.files import md5_of
from textmill.redaction import redacted

EXPERIMENT = "textmill"
_PARAM_CHARACTERS = 6000  # MLflow refuses longer values
_BATCH_METRICS = 1000  # MLflow's limit for one log_batch
_SECONDS_BETWEEN_FLUSHES = 10.0
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
        try:
            action(self._connection)
        except Exception as error:
            role, self._connection = self._connection.role, None
            _say_lost(error, role)


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


def connect() -> Connection | None:
    """Open the store and this rebuild's parent run, creating both if need be; None, after one line, if that fails."""
    return _connected("rebuild", rebuild_key)


def connect_search(study: str) -> Connection | None:
    """The same for the parent run of a search, which all processes that work on the study share."""
    return _connected("search", lambda: study)


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


def was_opened_since(moment: float) -> bool:
    """Has any process of this project opened the store (locked it) since `moment`, in seconds since the epoch? Asked without mlflow."""
    lock = store_folder() / "lock"
    return lock.is_file() and lock.stat().st_mtime >= moment


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
            if any(Path(part).name == "dvc" for part in process.cmdline()[:3]):
                return f"{process.pid}-{int(process.create_time())}"
    return f"alone-{os.getpid()}-{int(time.time())}"


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
    return {f"environment.{name}": value for name, value in environment.items()}


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
    try:
        from mlflow.entities import Param, RunTag

        tags = {"mlflow.parentRunId": connection.parent_id, **tags, "textmill.process": _this_process(), **git_state()}
        run = connection.client.create_run(connection.experiment_id, run_name=name, tags=tags)
        flat = flat_params(params)
        connection.client.log_batch(
            run.info.run_id, params=[Param(name, value) for name, value in flat.items()], tags=[RunTag("textmill", "1")]
        )
        return RunLog(connection, run.info.run_id)
    except Exception as error:
        _say_lost(error, connection.role)
        return RunLog(None)


def _client() -> Any:
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    for name in ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME"):
        os.environ.pop(name, None)
    import logging

    logging.getLogger("alembic").setLevel(logging.WARNING)
    import mlflow

    mlflow.set_tracking_uri(tracking_uri())
    return mlflow.MlflowClient(tracking_uri())


def _connected(role: str, key: Callable[[], str]) -> Connection | None:
    if os.environ.get("TEXTMILL_TRACKING") == "off":
        return None
    try:
        if not _is_reachable(tracking_uri()):
            raise ConnectionError("no answer")
        with _locked_store():
            return _connect(role, key())
    except Exception as error:
        _say_lost(error, role)
        return None


def _connect(role: str, key: str) -> Connection:
    client = _client()
    experiment = _experiment_id(client)
    found = client.search_runs([experiment], f"tags.`textmill.{role}` = '{key}' and tags.`textmill.role` = '{role}'", max_results=1)
    if role == "search" or not found:  # a search is gone on with: what its killed processes have left is found by the next one
        _close_orphans(client, experiment)
    if found:
        return Connection(client, experiment, found[0].info.run_id, role)
    tags = {"textmill.role": role, f"textmill.{role}": key, "textmill.process": _this_process(), **git_state()}
    name = time.strftime(f"{role} %Y-%m-%d %H:%M:%S")
    run = client.create_run(experiment, run_name=name, tags=tags)
    return Connection(client, experiment, run.info.run_id, role)


def _experiment_id(client: Any) -> str:
    experiment = client.get_experiment_by_name(EXPERIMENT)
    if experiment is not None:
        return str(experiment.experiment_id)
    is_embedded = not tracking_uri().startswith("http")
    location = (store_folder() / "artifacts").as_uri() if is_embedded else None
    return str(client.create_experiment(EXPERIMENT, artifact_location=location))


def _close_orphans(client: Any, experiment: str) -> None:
    """Close runs whose process on this machine is gone: MLflow leaves the runs of killed processes RUNNING for ever."""
    import psutil

    running = client.search_runs([experiment], "attributes.status = 'RUNNING'", max_results=500)
    for run in sorted(running, key=lambda each: each.data.tags.get("textmill.role") == "rebuild"):  # children first
        host, _, rest = run.data.tags.get("textmill.process", "").partition(" ")
        pid, _, started = rest.partition(" ")
        if host != socket.gethostname() or not pid.isdigit():
            continue
        is_rebuild = run.data.tags.get("textmill.role") == "rebuild"
        is_alive = False
        with suppress(psutil.Error, ValueError):
            is_alive = abs(psutil.Process(int(pid)).create_time() - float(started)) < 2
        if is_rebuild:  # outlives the stage that opened it: alive as long as its dvc is
            owner = run.data.tags.get("textmill.rebuild", "").partition("-")[0]
            is_alive = is_alive or (owner.isdigit() and psutil.pid_exists(int(owner)))
        if not is_alive:
            if run.data.tags.get("textmill.role") == "trial":
                client.set_tag(run.info.run_id, "state", "failed")
            client.set_terminated(run.info.run_id, "FINISHED" if is_rebuild and _has_finished(client, run) else "KILLED")


def _has_finished(client: Any, rebuild: Any) -> bool:
    """Did all that it started end well? `track` closes a rebuild, but does not run where no result has moved."""
    children = client.search_runs([rebuild.info.experiment_id], f"tags.`mlflow.parentRunId` = '{rebuild.info.run_id}'", max_results=1000)
    return bool(children) and all(child.info.status == "FINISHED" for child in children)


def _end_children(connection: Connection, parent: str, status: str, tags: Mapping[str, str]) -> None:
    wanted = f"attributes.status = 'RUNNING' and tags.`mlflow.parentRunId` = '{parent}'"
    for child in connection.client.search_runs([connection.experiment_id], wanted, max_results=1000):
        for name, value in tags.items():
            connection.client.set_tag(child.info.run_id, name, value)
        connection.client.set_terminated(child.info.run_id, status)


def _this_process() -> str:
    import psutil

    return f"{socket.gethostname()} {os.getpid()} {psutil.Process().create_time()}"


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
        return str(mlflow_module().artifacts.download_artifacts(artifact_uri=address, dst_path=str(folder)))
    except Exception as error:
        reason = redacted(error).split("\n")[0]
        raise UserError(f"{address}: MLflow does not give it ({reason}).") from None


def mlflow_module() -> Any:
    """mlflow, imported late (2 s) and pointed at this project's store."""
    _client()
    import mlflow

    return mlflow
