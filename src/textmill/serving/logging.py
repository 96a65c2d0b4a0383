"""Writes the exported model in the form that MLflow serves."""

from __future__ import annotations

import warnings
from importlib import metadata
from pathlib import Path

from textmill.serving import translator as _serving  # the module that the pyfunc model loads: must import here too
from textmill.tracking.store import mlflow_module

_EXAMPLE = {"source": ["Save the file"]}
_PACKAGES = ("ctranslate2", "numpy", "pandas", "sentencepiece")


def save_pyfunc(folder: Path, target: Path, model_id: str) -> None:
    """Write a model folder as an MLflow model with its code into the new folder `target`. model_id: of its logged model.

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
    with warnings.catch_warnings(record=True):  # MLflow's advice is not shown: type hints would drop the params that the signature declares
        mlflow.pyfunc.save_model(
            path=str(target),
            python_model=str(package / "serving" / "pyfunc_model.py"),
            artifacts={"model": str(folder)},
            code_paths=[str(package)],
            signature=signature,
            input_example=_EXAMPLE,
            mlflow_model=mlflow.models.Model(model_id=model_id),
            pip_requirements=[f"{package}=={metadata.version(package)}" for package in _PACKAGES],
        )
