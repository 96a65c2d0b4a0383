"""The models of a rebuild in MLflow: on the Models tab, linked to the runs that made and scored them, and in the registry."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from textmill.base import paths
from textmill.base.files import md5_of, read_json
from textmill.track.locked_stage import LockedStage
from textmill.tracking.connection import Connection
from textmill.tracking.environment import recorded_environment
from textmill.tracking.links import link_output, link_scores
from textmill.tracking.values import environment_tags, flat_numbers, flat_params

EXPORT = "export"
_TYPE = "text-to-text"
_DATASET = "test"
_VERSIONS = "mlflow.modelVersions"
_PARAM_CHARACTERS = 500  # MLflow's limit for a parameter of a logged model


@dataclass(frozen=True)
class _Kind:
    """A model that a stage makes. system: as it is called in data/evaluate. scored_by: the stage that scores it."""

    system: str
    path: Path
    scored_by: str


def publish_models(
    connection: Connection, stages: Mapping[str, LockedStage], runs: Mapping[str, str], name: str, state: Mapping[str, str]
) -> None:
    """Make a logged model of each model, link it to its runs and scores, and register the exported one as a version of `name`.

    stages: entries of dvc.lock, by name. runs: the run of each stage in this rebuild. state: of git, as tags. A model whose
    bytes are known already is not stored again.
    """
    test_set = md5_of(paths.TEST) if paths.TEST.is_file() else None
    for stage, kind in _kinds(stages).items():
        content = stages[stage].outputs.get(str(kind.path)) if stage in stages else None
        if content is None or not kind.path.is_file():
            continue
        model = _find(connection, kind, content)
        if model is None:
            if not stages[stage].has_on_record(kind.path):
                print(f"track: {kind.path} is not what dvc.lock has on record, so it is not published.", file=sys.stderr)
                continue
            model = _create(connection, stages[stage], kind, runs[stage], state)
        link_output(connection, runs[stage], model)
        _link_scores(connection, kind, model, runs.get(kind.scored_by), test_set)
        if stage == EXPORT:
            tags = {"dvc.md5": content, "dvc.lock_entry": stages[stage].entry_hash, **state}
            _register(connection, name, model, runs[stage], tags | environment_tags(recorded_environment(EXPORT)))


def version_of(connection: Connection, name: str, content: str) -> str | None:
    """The version of the registered model with this MD5 of model.bin, or None."""
    versions = connection.client.search_model_versions(f"name = '{name}'")
    return next((str(version.version) for version in versions if version.tags.get("dvc.md5") == content), None)


def _kinds(stages: Mapping[str, LockedStage]) -> dict[str, _Kind]:
    folds = sorted(int(name.partition("@")[2]) for name in stages if name.startswith("train@"))
    return {f"train@{fold}": _Kind(f"fold-{fold}", paths.fold_model(fold), f"evaluate@fold-{fold}") for fold in folds} | {
        "distill": _Kind("student", paths.STUDENT, "evaluate@student"),
        "prune": _Kind("pruned", paths.PRUNED, "evaluate@pruned"),
        EXPORT: _Kind("exported", paths.EXPORTED_INT8 / "model.bin", "evaluate-exported"),
    }


def _find(connection: Connection, kind: _Kind, content: str) -> str | None:
    """The logged model with these bytes; one whose upload failed or was killed does not count."""
    query = f"name = '{kind.system}' AND tags.`dvc.md5` = '{content}'"
    found = connection.client.search_logged_models([connection.experiment_id], query)
    return next((str(model.model_id) for model in found if model.status == "READY"), None)


def _create(connection: Connection, stage: LockedStage, kind: _Kind, run_id: str, state: Mapping[str, str]) -> str:
    """A logged model with the files: a pyfunc model of the exported folder, or the torch weights."""
    tags = {"dvc.md5": stage.outputs[str(kind.path)], "dvc.path": str(kind.path), "dvc.stage": stage.name, **state}
    tags["mlflow.note.content"] = _description(kind)
    params = {key: value[:_PARAM_CHARACTERS] for key, value in flat_params(stage.params).items() if not key.startswith("packages")}
    model = connection.client.create_logged_model(connection.experiment_id, kind.system, run_id, tags, params, _TYPE)
    try:
        with tempfile.TemporaryDirectory(prefix="textmill-model-") as temporary:
            if kind.system == "exported":
                from textmill.serving.logging import save_pyfunc

                save_pyfunc(kind.path.parent, Path(temporary) / "model", model.model_id)
            else:
                (Path(temporary) / "model").mkdir()
                (Path(temporary) / "model" / kind.path.name).symlink_to(kind.path.resolve())
            connection.client.log_model_artifacts(model.model_id, str(Path(temporary) / "model"))
    except BaseException:
        connection.client.finalize_logged_model(model.model_id, "FAILED")
        raise
    connection.client.finalize_logged_model(model.model_id, "READY")
    return str(model.model_id)


def _description(kind: _Kind) -> str:
    if kind.system == "exported" and paths.MODEL_CARD.is_file():
        return paths.MODEL_CARD.read_text(encoding="utf-8")
    return f"`{kind.path}`: the {kind.system} model as torch weights. Load it with `textmill.model.weights.load_model`."


def _link_scores(connection: Connection, kind: _Kind, model: str, scorer: str | None, test_set: str | None) -> None:
    """Link a model to the run of the stage that scored it, and give it its scores. test_set: its MD5."""
    path = paths.system_metrics(kind.system)
    if scorer is None or not path.is_file():
        return
    numbers = {key.removesuffix(".score"): value for key, value in flat_numbers(read_json(path)) if key.endswith(".score") or key == "loss"}
    link_scores(connection, scorer, model, numbers, _DATASET, test_set)


def _register(connection: Connection, name: str, model: str, run_id: str, tags: dict[str, str]) -> None:
    """Register the exported model as a version of `name`, once for the same content; give it the alias `newest`."""
    client = connection.client
    if not client.search_registered_models(f"name = '{name}'"):
        client.create_registered_model(name, description="Exported by textmill: int8 weights for CTranslate2, which need no torch.")
    version = version_of(connection, name, tags["dvc.md5"])
    if version is None:
        card = paths.MODEL_CARD.read_text(encoding="utf-8") if paths.MODEL_CARD.is_file() else None
        version = str(client.create_model_version(name, f"models:/{model}", run_id, tags, description=card, model_id=model).version)
    else:
        for tag, value in tags.items():
            client.set_model_version_tag(name, version, tag, value)
    _note_version(connection, model, name, version)
    client.set_registered_model_alias(name, "newest", version)  # "latest" is a reserved word


def _note_version(connection: Connection, model: str, name: str, version: str) -> None:
    """Note the version with its logged model, which the UI shows on the Models tab. A model can be registered under several names."""
    noted = json.loads(connection.client.get_logged_model(model).tags.get(_VERSIONS, "[]"))
    known = {(each["name"], str(each["version"])) for each in noted}
    if (name, version) not in known:
        connection.client.set_logged_model_tags(model, {_VERSIONS: json.dumps([*noted, {"name": name, "version": version}])})
