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
    """Log a model folder to a run and register it as `name`. Return the number of the new version."""
    mlflow = mlflow_module()
    with tempfile.TemporaryDirectory(prefix="textmill-model-") as temporary:
        local = Path(temporary) / "model"
        save_pyfunc(folder, local)
        client = mlflow.MlflowClient()
        client.log_artifacts(run_id, str(local), "model")
    if not client.search_registered_models(f"name = '{name}'"):
        client.create_registered_model(name)
    run = client.get_run(run_id)
    return str(client.create_model_version(name, f"{run.info.artifact_uri}/model", run_id).version)


def save_pyfunc(folder: Path, target: Path) -> None:
    """Write a model folder as an MLflow model to the folder `target`, which must not exist.

    The signature declares the output and the params, but not the input: for an input column of type string, MLflow
    converts before `predict` sees the values, null to "None" and 5 to "5", and it does not accept a list of strings.
    """
    mlflow = mlflow_module()
    types = mlflow.types
    decode = _serving.Translator.load(folder).decode
    optional = {"score": "double", "is_source_truncated": "boolean", "is_output_truncated": "boolean"}  # with the param with_scores
    signature = mlflow.models.ModelSignature(
        outputs=types.Schema(
            [types.ColSpec("string", "target"), *(types.ColSpec(kind, name, required=False) for name, kind in optional.items())]
        ),
        params=types.ParamSchema(
            [
                types.ParamSpec("beam_size", "long", decode.beam_size),
                types.ParamSpec("task", "string", ""),
                types.ParamSpec("with_scores", "boolean", False),
            ]
        ),
    )
    package = Path(__file__).parent.parent
    # MLflow's advice is not shown: type hints would drop the params that the signature declares, an example would only let it guess.
    with warnings.catch_warnings(record=True):
        mlflow.pyfunc.save_model(
            path=str(target),
            python_model=str(package / "serving" / "pyfunc_model.py"),
            artifacts={"model": str(folder)},
            code_paths=[str(package)],
            signature=signature,
            pip_requirements=[f"{package}=={metadata.version(package)}" for package in _PACKAGES],
        )
