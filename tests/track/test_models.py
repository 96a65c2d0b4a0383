"""Publishing that is cut short and done again, against a real SQLite store."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from textmill.base import paths
from textmill.base.files import md5_of
from textmill.track.locked_stage import LockedStage
from textmill.track.models import publish_models
from textmill.track.publication import _complete_parent, report_with_speeds
from textmill.tracking.connection import Connection
from textmill.tracking.store import experiment_of, open_client


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Of a store that every test uses with an experiment of its own: to create one takes seconds."""
    return f"sqlite:///{tmp_path_factory.mktemp('store')}/mlflow.db"


@pytest.fixture
def connection(address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Connection]:
    environment = dict(os.environ)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("textmill.tracking.store.EXPERIMENT", tmp_path.name)
    monkeypatch.setattr("textmill.serving.logging.save_pyfunc", save_pyfunc)
    os.environ["MLFLOW_TRACKING_URI"] = address
    client = open_client()
    experiment = experiment_of(client)
    yield Connection(client, experiment, client.create_run(experiment).info.run_id, "rebuild")
    os.environ.clear()
    os.environ.update(environment)


def save_pyfunc(folder: Path, target: Path, model_id: str) -> None:
    target.mkdir()
    (target / "MLmodel").write_text(f"model_id: {model_id}\nartifact_path: {target.name}\nflavors: {{}}\n")


def locked(name: str, path: Path, params: Mapping[str, Any] | None = None) -> LockedStage:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(name)
    return LockedStage(name, f"key {name}", f"hash {name}", {str(path): md5_of(path)}, params or {})


def write_scores(system: str) -> None:
    paths.system_metrics(system).parent.mkdir(parents=True)
    paths.system_metrics(system).write_text(json.dumps({"chrf": {"score": 40.0, "low": 38.0}, "loss": 3.0}))


def runs_of(connection: Connection, *names: str) -> dict[str, str]:
    return {name: connection.client.create_run(connection.experiment_id).info.run_id for name in names}


def fail_once(monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    """The next call of a method of MLflow's client raises."""
    right = getattr(MlflowClient, method)

    def fail(*_: object, **__: object) -> None:
        monkeypatch.setattr(MlflowClient, method, right)
        raise ConnectionError(method)

    monkeypatch.setattr(MlflowClient, method, fail)


def models(connection: Connection) -> list[Any]:
    return list(connection.client.search_logged_models([connection.experiment_id]))


@pytest.mark.parametrize(
    "method",
    [
        "create_logged_model",
        "log_model_artifacts",
        "finalize_logged_model",
        "log_outputs",
        "log_batch",
        "log_inputs",
        "create_registered_model",
        "create_model_version",
        "set_logged_model_tags",
        "set_registered_model_alias",
    ],
)
def test_publishing_that_fails_half_way_is_completed_by_the_next(
    connection: Connection, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    stage, scorer = locked("export", paths.EXPORTED_INT8 / "model.bin"), "evaluate-exported"
    write_scores("exported")
    runs = runs_of(connection, "export", scorer)
    name = connection.experiment_id
    fail_once(monkeypatch, method)
    with pytest.raises(ConnectionError, match=method):
        publish_models(connection, {"export": stage}, runs, name, {})
    for _ in range(2):
        publish_models(connection, {"export": stage}, runs, name, {})
    (model,) = [model for model in models(connection) if model.status == "READY"]
    assert [path.path for path in connection.client.list_logged_model_artifacts(model.model_id)] == ["MLmodel"]
    assert {metric.key: metric.value for metric in model.metrics} == {"test.chrf": 40.0, "test.loss": 3.0}
    made, scored = (connection.client.get_run(runs[each]) for each in ("export", scorer))
    assert [each.model_id for each in made.outputs.model_outputs] == [model.model_id]
    assert [each.model_id for each in scored.inputs.model_inputs] == [model.model_id]
    (version,) = connection.client.search_model_versions(f"name = '{name}'")
    assert (version.source, version.tags["dvc.md5"]) == (f"models:/{model.model_id}", model.tags["dvc.md5"])
    assert connection.client.get_model_version_by_alias(name, "newest").version == version.version
    assert json.loads(model.tags["mlflow.modelVersions"]) == [{"name": name, "version": str(version.version)}]


def test_a_model_that_is_registered_under_a_second_name_keeps_the_first(connection: Connection) -> None:
    stage = locked("export", paths.EXPORTED_INT8 / "model.bin")
    names = [f"{connection.experiment_id}-{part}" for part in ("first", "second")]
    for name in names:
        publish_models(connection, {"export": stage}, runs_of(connection, "export"), name, {})
    (model,) = models(connection)
    assert [each["name"] for each in json.loads(model.tags["mlflow.modelVersions"])] == names


def test_a_model_file_that_is_missing_or_not_what_dvc_lock_says_is_left_out(
    connection: Connection, capsys: pytest.CaptureFixture[str]
) -> None:
    stages = {name: locked(name, paths.fold_model(fold)) for fold, name in enumerate(["train@0", "train@1", "train@2"])}
    paths.fold_model(0).unlink()
    paths.fold_model(1).write_text("changed")
    publish_models(connection, stages, runs_of(connection, *stages), "unused", {})
    assert [model.name for model in models(connection)] == ["fold-2"]
    assert capsys.readouterr().err == f"track: {paths.fold_model(1)} is not what dvc.lock has on record, so it is not published.\n"


def test_long_and_many_params_are_cut_and_sent_in_batches(connection: Connection) -> None:
    params = {"train": {f"key_{number}": number for number in range(250)} | {"long": "x" * 9000}}
    publish_models(connection, {"distill": locked("distill", paths.STUDENT, params)}, runs_of(connection, "distill"), "unused", {})
    (model,) = models(connection)
    assert len(model.params) == 251 and len(model.params["train.long"]) == 500


def test_params_of_a_rebuild_that_arrived_in_part_are_completed_and_those_that_did_are_kept(connection: Connection) -> None:
    client, parent, lock = connection.client, connection.parent_id, Path("dvc.lock")
    lock.touch()
    client.log_param(parent, "train.key_0", "as it was")
    stage = LockedStage("train@0", "key", "hash", {}, {"train": {f"key_{number}": number for number in range(150)}})
    for _ in range(2):
        _complete_parent(connection, [stage], lock, {})
    found = client.get_run(parent).data.params
    assert len(found) == 150 and (found["train.key_0"], found["train.key_149"]) == ("as it was", "149")


def test_the_report_in_mlflow_has_the_measured_speeds_inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    template = resources.files("textmill.report").joinpath("report.html.jinja").read_text(encoding="utf-8")
    (tag,) = re.findall(r'<script src="speed/.*"></script>', template)
    paths.SPEEDS.mkdir(parents=True)
    paths.REPORT.write_text(tag.replace("{{ name }}", "exported") + tag.replace("{{ name }}", "student"), encoding="utf-8")
    (paths.SPEEDS / "exported.js").write_text('textmillSpeed("exported", {});\n', encoding="utf-8")
    page = report_with_speeds()
    assert '<script>textmillSpeed("exported", {});\n</script>' in page and 'src="speed/exported.js"' not in page
    assert 'src="speed/student.js"' in page, "not measured on this machine"
