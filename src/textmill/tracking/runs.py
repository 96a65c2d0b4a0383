"""MLflow as a view of what the stages do: never an input, never an output, never fatal.

Every stage is a child run of one parent run for the rebuild (one `dvc repro`); `track` completes the parent. So is every trial, of one
parent run for the search. Whatever fails here costs one line on stderr. This room and serving/pyfunc_model.py alone import mlflow.

Environment: MLFLOW_TRACKING_URI (default: an SQLite store under .mlflow/ in the project), TEXTMILL_TRACKING=off
switches tracking off, TEXTMILL_REBUILD joins several dvc processes into one rebuild, TEXTMILL_TRACKING_SECONDS is how long a stage
waits for a server in all (default: 30; ten times that to publish).
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textmill.base.files import md5_of
from textmill.tracking.connection import Connection, connect, git_state, source_tags, this_process
from textmill.tracking.redaction import redacted
from textmill.tracking.store import tracking_uri
from textmill.tracking.values import environment_tags, flat_numbers, flat_params, metric_name

if TYPE_CHECKING:
    import pandas as pd

_BATCH_METRICS, _BATCH_PARAMS = 1000, 100  # MLflow's limits for one log_batch
_TABLE_ROWS = 5000  # of predictions: the UI loads all of them


_SECONDS_BETWEEN_FLUSHES = 10.0


class RunLog:
    """The run of one stage. Every method does nothing once something has failed, and never raises because of MLflow."""

    def __init__(self, connection: Connection | None, run_id: str = "") -> None:
        self._connection, self._run_id = connection, run_id
        self._waiting: list[tuple[str, float, int, int]] = []
        self._last_flush = time.monotonic()
        self._monitor: Any = None

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

    def table(self, table: pd.DataFrame, name: str) -> None:
        """Keep the first rows of a table in the form that the UI shows, as the artifact `name`.json."""
        self._try(lambda c: c.client.log_table(self._run_id, table.head(_TABLE_ROWS), f"{name}.json"))

    def dataset(self, path: Path, name: str, rows: int) -> None:
        """Say which data the stage read. Its digest is the file's MD5: the hash that dvc.lock has."""
        self._try(lambda c: _log_dataset(c, self._run_id, path, name, rows))

    def tag(self, name: str, value: str) -> None:
        """Set a tag of the run."""
        self._try(lambda c: c.client.set_tag(self._run_id, name, redacted(value)))

    def monitor_system(self) -> None:
        """Log the use of processors, memory and GPU every ten seconds until the run ends."""
        self._try(lambda c: self._start_monitor())

    def _start_monitor(self) -> None:
        from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

        self._monitor = SystemMetricsMonitor(self._run_id, tracking_uri=tracking_uri())  # type: ignore[no-untyped-call]
        self._monitor.start()

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
        if status == "FINISHED":  # else there are seconds before the process is killed, and its thread ends with it
            self._try(lambda c: self._monitor.finish() if self._monitor is not None else None)
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
    log.monitor_system()
    try:
        yield log
    except Exception:
        log.end("FAILED")
        raise
    except BaseException:
        log.end("KILLED")
        raise
    log.end("FINISHED")


def search_run(connection: Connection | None) -> RunLog:
    """The parent run of a search, to log its best result and to end it."""
    return RunLog(connection, connection.parent_id if connection is not None else "")


def trial_run(connection: Connection | None, name: str, params: Mapping[str, Any]) -> RunLog:
    """Open the run of one trial of a search, a child of the search's run. params: what was drawn, by full key."""
    return _open_child(connection, name, params, {"textmill.role": "trial", "state": "running"})


def log_metrics_batch(connection: Connection, run_id: str, metrics: list[tuple[str, float, int, int]]) -> None:
    """Log (name, value, milliseconds, step) in as few requests as MLflow allows."""
    for start in range(0, len(metrics), _BATCH_METRICS):
        _log_metrics(connection, run_id, metrics[start : start + _BATCH_METRICS])


def log_params(connection: Connection, run_id: str, params: Mapping[str, Any]) -> None:
    """Log nested params by their full keys, in as few requests as MLflow allows."""
    from mlflow.entities import Param

    entries = [Param(key, value) for key, value in flat_params(params).items()]
    for start in range(0, len(entries), _BATCH_PARAMS):
        connection.client.log_batch(run_id, params=entries[start : start + _BATCH_PARAMS])


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
    tags = {"mlflow.parentRunId": connection.parent_id, **tags, "textmill.process": this_process(), **git_state()}
    tags |= source_tags(f"stages/{name}" if "dvc.stage" in tags else "textmill tune")

    def create() -> str:
        run_id = str(connection.client.create_run(connection.experiment_id, run_name=name, tags=tags).info.run_id)
        log_params(connection, run_id, params)
        return run_id

    try:
        return RunLog(connection, connection.call(create))
    except Exception as error:
        connection.say_lost(error)
        return RunLog(None)


def _end_children(connection: Connection, parent: str, status: str, tags: Mapping[str, str]) -> None:
    wanted = f"attributes.status = 'RUNNING' and tags.`mlflow.parentRunId` = '{parent}'"
    for child in connection.client.search_runs([connection.experiment_id], wanted, max_results=1000):
        for name, value in tags.items():
            connection.client.set_tag(child.info.run_id, name, value)
        connection.client.set_terminated(child.info.run_id, status)


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
        schema=_schema(path),
        profile=json.dumps({"num_rows": rows, "num_bytes": path.stat().st_size}),
    )
    tags = [InputTag("mlflow.data.context", os.environ.get("DVC_STAGE", "stage"))]
    connection.client.log_inputs(run_id, [DatasetInput(dataset, tags)])


def _schema(path: Path) -> str | None:
    """The columns of a Parquet file as MLflow writes them; None for another file."""
    if path.suffix != ".parquet":
        return None
    import pyarrow.parquet as pq

    columns = [
        {"name": field.name, "type": "string" if str(field.type) in ("string", "large_string") else str(field.type), "required": True}
        for field in pq.read_schema(path)
    ]
    return json.dumps({"mlflow_colspec": columns})
