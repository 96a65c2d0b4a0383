"""Completes the MLflow run of a rebuild: every stage of dvc.lock appears, whether it ran, was skipped or was restored.

MLflow is derived from the locked state and the stages' small outputs, so a store that is lost is filled again from them.
"""

from __future__ import annotations

import csv
import hashlib
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from textmill.base import paths
from textmill.base.files import read_json
from textmill.track.headline import all_params, headline_metrics
from textmill.track.locked_stage import LockedStage
from textmill.track.models import publish_models, version_of
from textmill.track.plots import write_plots
from textmill.tracking.connection import Connection, connect, git_state, source_tags, this_process
from textmill.tracking.redaction import redacted
from textmill.tracking.runs import log_metrics_batch, log_params
from textmill.tracking.values import flat_numbers, flat_params, metric_name


def publish_rebuild(stages: Sequence[LockedStage], lock_file: Path, model_name: str) -> dict[str, int] | None:
    """Complete this rebuild's parent run and register the exported model.

    Returns how many stages ran in this rebuild, are cached (an earlier run made them; the new child links to it) or
    restored (no run of this store made them; metrics and curves are replayed from their files). None if MLflow cannot
    be reached, or fails on the way: one line has been printed, and publishing again is safe.
    """
    connection = connect(to_publish=True)
    if connection is None:
        return None
    try:
        return connection.call(lambda: _publish(connection, stages, lock_file, model_name))
    except Exception as error:
        reason = redacted(error).strip().split("\n")[0][:200] or type(error).__name__
        print(f"tracking: publishing failed ({reason}). Publish later with `dvc repro -f -s track`.", flush=True)
        return None


def is_published() -> bool:
    """Has `track` completed the run of this rebuild? True also if MLflow cannot be asked: then one line has been printed."""
    connection = connect()
    if connection is None:
        return True
    try:
        return bool(connection.call(lambda: connection.client.get_run(connection.parent_id).info.status == "FINISHED"))
    except Exception as error:
        connection.say_lost(error)
        return True


def registered_version(model_name: str, content: str) -> str | None:
    """The version of the registered model with this MD5 of model.bin; None if there is none, or MLflow cannot be asked."""
    connection = connect(to_publish=True)
    if connection is None:
        return None
    try:
        return connection.call(lambda: version_of(connection, model_name, content))
    except Exception as error:
        connection.say_lost(error)
        return None


def _publish(connection: Connection, stages: Sequence[LockedStage], lock_file: Path, model_name: str) -> dict[str, int]:
    children, state = _children(connection), git_state()
    published = {stage.name: _publish_stage(connection, stage, children, state) for stage in stages}
    counts = {origin: sum(each == origin for each, _ in published.values()) for origin in ("ran", "cached", "restored")}
    _complete_parent(connection, stages, lock_file, {**state, **{f"stages.{origin}": str(count) for origin, count in counts.items()}})
    runs = {name: run for name, (_, run) in published.items()}
    publish_models(connection, {stage.name: stage for stage in stages}, runs, model_name, state)
    connection.client.set_terminated(connection.parent_id, "FINISHED")
    return counts


def _children(connection: Connection) -> dict[tuple[str, str], Any]:
    """Finished runs of this rebuild, by stage and inputs key."""
    query = f"tags.`mlflow.parentRunId` = '{connection.parent_id}' and attributes.status = 'FINISHED'"
    runs = connection.client.search_runs([connection.experiment_id], query, max_results=1000)
    return {(run.data.tags.get("dvc.stage", ""), run.data.tags.get("dvc.inputs_key", "")): run for run in runs}


def _publish_stage(
    connection: Connection, stage: LockedStage, children: Mapping[tuple[str, str], Any], state: Mapping[str, str]
) -> tuple[str, str]:
    """How the stage's result came about, and its run in this rebuild. state: of git, as tags."""
    client = connection.client
    mine = children.get((stage.name, stage.inputs_key))
    if mine is not None:
        client.set_tag(mine.info.run_id, "dvc.lock_entry", stage.entry_hash)
        return mine.data.tags.get("textmill.origin", "ran"), str(mine.info.run_id)
    maker = _maker(connection, stage)
    origin = "restored" if maker is None else "cached"
    tags = {
        "mlflow.parentRunId": connection.parent_id,
        "textmill.role": "stage",
        "textmill.origin": origin,
        "textmill.process": this_process(),
        "dvc.stage": stage.name,
        "dvc.inputs_key": stage.inputs_key,
        "dvc.lock_entry": stage.entry_hash,
        "dvc.source_run": maker.info.run_id if maker is not None else "made elsewhere",
        **source_tags(f"stages/{stage.name}"),
        **state,
    }
    run_id = client.create_run(connection.experiment_id, run_name=f"{stage.name} ({origin})", tags=tags).info.run_id
    log_params(connection, run_id, stage.params)
    log_metrics_batch(connection, run_id, list(_replayed(stage)))
    client.set_terminated(run_id, "FINISHED")
    return origin, str(run_id)


def _maker(connection: Connection, stage: LockedStage) -> Any | None:
    """The newest finished run of this store that really ran the stage on the same inputs."""
    query = f"tags.`dvc.inputs_key` = '{stage.inputs_key}' and attributes.status = 'FINISHED'"
    runs = connection.client.search_runs([connection.experiment_id], query, max_results=100)
    return next((run for run in runs if run.data.tags.get("dvc.stage") == stage.name and "textmill.origin" not in run.data.tags), None)


def _replayed(stage: LockedStage) -> Iterator[tuple[str, float, int, int]]:
    """Metrics and curves from the stage's own files, as far as they are in the workspace."""
    now = int(time.time() * 1000)
    for path in map(Path, stage.outputs):
        if path.name not in ("history.csv", "metrics.json") or not path.is_file():
            continue
        if not stage.has_on_record(path):
            print(f"track: {path} is not what dvc.lock has on record, so it is not published. `make doctor` says more.", file=sys.stderr)
        elif path.name == "history.csv":
            with path.open(encoding="utf-8", newline="") as file:
                for row in csv.DictReader(file):
                    step = int(row.pop("step"))
                    yield from ((metric_name(key), float(value), now, step) for key, value in row.items() if value)
        else:
            yield from ((metric_name(key), value, now, 0) for key, value in flat_numbers(read_json(path)))


def _complete_parent(connection: Connection, stages: Sequence[LockedStage], lock_file: Path, tags: Mapping[str, str]) -> None:
    """Give the rebuild's run its parameters, headline metrics and files: what people compare, and nothing else."""
    client, parent = connection.client, connection.parent_id
    for name, value in {"dvc.lock": hashlib.sha256(lock_file.read_bytes()).hexdigest(), **tags}.items():
        client.set_tag(parent, name, value)
    known = client.get_run(parent).data.params  # published again after a change of params.yaml, it keeps those that it began with
    params = flat_params(all_params({stage.name: stage.params for stage in stages}))
    log_params(connection, parent, {key: value for key, value in params.items() if key not in known})
    now = int(time.time() * 1000)
    log_metrics_batch(connection, parent, [(metric_name(key), value, now, 0) for key, value in headline_metrics().items()])
    for path in (lock_file, Path("params.yaml"), paths.SUMMARY, paths.STATISTICS, paths.ENVIRONMENT):
        if path.is_file():
            client.log_artifact(parent, str(path))
    with tempfile.TemporaryDirectory() as folder:
        for path in write_plots(Path(folder)):
            client.log_artifact(parent, str(path), "plots")
    if paths.REPORT.is_file():
        client.log_text(parent, report_with_speeds(), paths.REPORT.name)


def report_with_speeds() -> str:
    """Return the report with the measured speeds inside. MLflow shows it alone, so it cannot load them from beside it."""
    page = paths.REPORT.read_text(encoding="utf-8")
    for path in paths.SPEEDS.glob("*.js"):
        page = page.replace(
            f'<script src="{paths.SPEEDS.name}/{path.name}"></script>', f"<script>{path.read_text(encoding='utf-8')}</script>"
        )
    return page
