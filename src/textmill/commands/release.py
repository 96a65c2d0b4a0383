"""Register the exported model in MLflow, and check that the registry has it.

The stage `track` never fails because of MLflow. For a release, a model that is not registered is an error.
"""

from __future__ import annotations

import os
from pathlib import Path

from textmill.base import paths
from textmill.base.errors import UserError
from textmill.base.lifetime import process_key
from textmill.commands.dvc_runs import DvcRuns
from textmill.pipeline.locked import locked_stages
from textmill.settings.params_file import read_params
from textmill.settings.schema import converted
from textmill.settings.tree import with_defaults
from textmill.tasks.settings import TaskSettings, model_name
from textmill.track.publication import registered_version


def main() -> int:
    _require_lasting_store()
    os.environ.setdefault("TEXTMILL_REBUILD", str(process_key(os.getpid())))
    if code := DvcRuns()("repro", "-f", "-s", "track"):
        return code
    params = with_defaults(read_params(Path("params.yaml")))
    name = model_name(params["export"]["name"], converted(params["tasks"], dict[str, TaskSettings], "tasks"))
    version = registered_version(name, _locked_model(Path("dvc.lock")))
    if version is None:
        raise UserError(
            f"the model {name} was not registered. See the line of `tracking` above, check MLFLOW_TRACKING_URI, then run again."
        )
    print(f"release: the model of this commit is version {version} of {name}")
    return 0


def _require_lasting_store() -> None:
    """Raise UserError in a CI job that names no store: its own is thrown away with the job. CI gives a secret that is not set as ''."""
    address = os.environ.get("MLFLOW_TRACKING_URI")
    if address == "" or (address is None and os.environ.get("CI")):
        raise UserError(
            "MLFLOW_TRACKING_URI is not set, so the model would be in no lasting registry. Set the secret of that name (docs/install.md)."
        )


def _locked_model(lock_file: Path) -> str:
    """Return the MD5 of the exported model.bin in dvc.lock."""
    model = str(paths.EXPORTED_INT8 / "model.bin")
    for stage in locked_stages(lock_file, leave_out="track"):
        if stage.name == "export" and model in stage.outputs:
            return stage.outputs[model]
    raise UserError(f"{lock_file}: has no {model}. Run `dvc repro export` first.")
