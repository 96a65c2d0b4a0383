"""Puts the exported model into MLflow's registry."""

from __future__ import annotations

import tempfile
import warnings
from importlib import metadata
from pathlib import Path

from textmill.serving import translator as _serving  # the module that the pyfunc model loads: must import here too
from textmill.tracking.store import mlflow_module

_PACKAGES = ("ctranslate2", "numpy", "pandas", "sentencepiece")


def log_model(run_id: str, folder: Path, name: str) -> str:
    """Log a model folder to a run and register it as `name`. Returns the number of the new version.

    The signature declares the column `source`, the column `target`, and the params `beam_size` and `task`.
    """
    mlflow = mlflow_module()
    decode = _serving.Translator.load(folder).decode
    signature = mlflow.models.ModelSignature(
        inputs=mlflow.types.Schema([mlflow.types.ColSpec("string", "source")]),
        outputs=mlflow.types.Schema([mlflow.types.ColSpec("string", "target")]),
        params=mlflow.types.ParamSchema(
            [mlflow.types.ParamSpec("beam_size", "long", decode.beam_size), mlflow.types.ParamSpec("task", "string", "")]
        ),
    )
    package = Path(__file__).parent.parent
    # MLflow's advice is not shown: type hints would drop the params that the signature declares, an example would only let it guess.
    with tempfile.TemporaryDirectory(prefix="textmill-model-") as temporary, warnings.catch_warnings(record=True):
        local = Path(temporary) / "model"
        mlflow.pyfunc.save_model(
            path=str(local),
            python_model=str(package / "serving" / "pyfunc_model.py"),
            artifacts={"model": str(folder)},
            code_paths=[str(package)],
            signature=signature,
            pip_requirements=[f"{package}=={metadata.version(package)}" for package in _PACKAGES],
        )
        client = mlflow.MlflowClient()
        client.log_artifacts(run_id, str(local), "model")
    if not client.search_registered_models(f"name = '{name}'"):
        client.create_registered_model(name)
    run = client.get_run(run_id)
    return str(client.create_model_version(name, f"{run.info.artifact_uri}/model", run_id).version)
