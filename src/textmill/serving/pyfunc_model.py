"""The exported model as an MLflow pyfunc, by models-from-code: this file and the model folder, no pickle, no torch."""

from pathlib import Path

import mlflow
import pandas as pd

from textmill.serving.translator import Translator


class TextToText(mlflow.pyfunc.PythonModel):  # type: ignore[misc, name-defined]
    """Input: a table with a column `source`, or a list of texts. Output: a table with a column `target`."""

    # No type hints on predict: with them MLflow 3 takes the signature from the hints and drops the declared params.
    def load_context(self, context):  # type: ignore[no-untyped-def]
        """Load the model folder, once."""
        self.translator = Translator.load(Path(context.artifacts["model"]))

    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]
        """Translate. params: `beam_size`, `task`; MLflow itself refuses or reports other names by the signature."""
        unknown = set(params or {}) - {"beam_size", "task"}
        if unknown:
            raise ValueError(f"unknown params: {', '.join(sorted(unknown))}; known: beam_size, task")
        beam_size, task = (params or {}).get("beam_size"), (params or {}).get("task") or ""
        texts = model_input["source"].tolist() if isinstance(model_input, pd.DataFrame) else list(model_input)
        outputs = self.translator.translate(texts, task=str(task), beam_size=None if beam_size is None else int(beam_size))
        return pd.DataFrame({"target": outputs})


mlflow.models.set_model(TextToText())
