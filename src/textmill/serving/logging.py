"""Writes the exported model in the form that MLflow serves."""

from __future__ import annotations

import warnings
from importlib import metadata
from pathlib import Path

import pandas as pd

from textmill.serving import text_model as _serving  # the module that the pyfunc model loads: must import here too
from textmill.tracking.store import mlflow_module

_PACKAGES = ("ctranslate2", "numpy", "pandas", "sentencepiece")


def save_pyfunc(folder: Path, target: Path, model_id: str | None = None) -> None:
    """Write a model folder as an MLflow model to the folder `target`, which must not exist. model_id: of its logged model.

    The signature declares the output and the params, but not the input: for an input column of type string, MLflow
    converts before `predict` sees the values, null to "None" and 5 to "5", and it does not accept a list of strings.
    """
    mlflow = mlflow_module()
    types = mlflow.types
    decode = _serving.TextModel.load(folder).decode
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
    # MLflow's advice is not shown: type hints would drop the params that the signature declares.
    with warnings.catch_warnings(record=True):
        mlflow.pyfunc.save_model(
            path=str(target),
            python_model=str(package / "serving" / "pyfunc_model.py"),
            artifacts={"model": str(folder)},
            code_paths=[str(package)],
            signature=signature,
            input_example=pd.DataFrame({"source": ["Save the file"]}),
            mlflow_model=mlflow.models.Model(model_id=model_id),
            pip_requirements=[f"{package}=={metadata.version(package)}" for package in _PACKAGES],
        )
