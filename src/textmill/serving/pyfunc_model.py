"""The exported model as an MLflow pyfunc, by models-from-code: this file and the model folder, no pickle, no torch."""

import functools
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INTERNAL_ERROR, INVALID_PARAMETER_VALUE

from textmill.base.errors import UserError
from textmill.decode.generate import Output
from textmill.serving.requests import require_texts
from textmill.serving.text_model import TextModel

_PARAMS = ("beam_size", "task", "with_scores")
_logger = logging.getLogger(__name__)


class TextToText(mlflow.pyfunc.PythonModel):  # type: ignore[misc, name-defined]
    """Input: a table with a column `source`, a list of strings, or a list of dicts with the key `source`.

    Output: a table with the column `target`; with the param `with_scores` also the other fields of Output.
    """

    # No type hints on predict: with them MLflow 3 takes the signature from the hints and drops the declared params.
    def load_context(self, context):  # type: ignore[no-untyped-def]
        """Load the model folder, once."""
        _refuse_unknown_params()
        self.model = TextModel.load(Path(context.artifacts["model"]))

    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]
        """Generate an output per source. params: `beam_size`, `task`, `with_scores`.

        Raises MlflowException with one line: INVALID_PARAMETER_VALUE for a user's mistake (the scoring server answers 400
        with the message), INTERNAL_ERROR for a bug (500 without details: MLflow would send the stack trace to the client).
        """
        try:
            return self._predict(model_input, params or {})
        except UserError as error:
            raise _refusal(error) from None
        except Exception as error:
            _logger.exception("predict failed")
            raise MlflowException("Internal error. See the log of the server.", error_code=INTERNAL_ERROR) from error

    def _predict(self, model_input: Any, params: Mapping[str, Any]) -> pd.DataFrame:
        _require_known(params)
        texts = _texts(model_input)
        beam_size, task = params.get("beam_size"), str(params.get("task") or "")
        beam_size = beam_size.item() if isinstance(beam_size, np.generic) else beam_size
        if not params.get("with_scores"):
            return pd.DataFrame({"target": self.model.generate(texts, task=task, beam_size=beam_size)})
        outputs = self.model.generate_with_scores(texts, task=task, beam_size=beam_size)
        table = pd.DataFrame(outputs, columns=Output._fields)
        return table.rename(columns={"text": "target"})


def _texts(model_input: Any) -> list[str]:
    """The texts of any accepted form of input. Raises UserError for another form, and for an item that is not a string."""
    if isinstance(model_input, pd.DataFrame):
        if not len(model_input):
            return []
        columns = list(model_input.columns)
        if columns.count("source") != 1:
            raise UserError(f"the input needs one column 'source' (columns: {', '.join(map(str, columns[:20]))}).")
        model_input = model_input["source"]
    elif isinstance(model_input, dict):
        if "source" not in model_input:
            raise UserError(f"the input needs the column 'source' (columns: {', '.join(map(str, list(model_input)[:20]))}).")
        model_input = model_input["source"]
    if isinstance(model_input, np.ndarray | np.generic | pd.Series):
        model_input = model_input.tolist()  # of an array without dimensions: its one value
    if isinstance(model_input, list | tuple):
        model_input = [_text(position, item) for position, item in enumerate(model_input)]
    return require_texts(model_input, "source")


def _text(position: int, item: Any) -> Any:
    """An item of a list: a text, or a dict with the key `source`; None in place of what pandas writes for a missing value."""
    if isinstance(item, dict):
        if "source" not in item:
            raise UserError(f"item {position} needs the key 'source' (keys: {', '.join(map(str, list(item)[:20]))}).")
        item = item["source"]
    if isinstance(item, np.ndarray | np.generic):
        item = item.tolist()
    return None if item is pd.NA or (isinstance(item, float) and np.isnan(item)) else item


def _require_known(params: Mapping[str, Any]) -> None:
    unknown = sorted(set(map(str, params)) - set(_PARAMS))
    if unknown:
        raise UserError(f"unknown params: {', '.join(unknown)}. Known: {', '.join(_PARAMS)}.")


def _refusal(error: UserError) -> MlflowException:
    return MlflowException(str(error), error_code=INVALID_PARAMETER_VALUE)


def _refuse_unknown_params() -> None:
    """Make MLflow refuse params that are not in the signature of this model.

    MLflow (3.17) drops them before it calls `predict`, and only warns in the log. There is no setting for that, so the
    function that drops them is wrapped. Other models in the process are not affected: only a signature with exactly
    these params is checked. If a later MLflow has no such function, unknown params are ignored again.
    """
    enforce = getattr(mlflow.pyfunc, "_enforce_params_schema", None)
    if enforce is None or hasattr(enforce, "of_textmill"):
        return

    @functools.wraps(enforce)
    def enforce_known(params: Any, schema: Any) -> Any:
        if isinstance(params, dict) and schema is not None and {param.name for param in schema.params} == set(_PARAMS):
            try:
                _require_known(params)
            except UserError as error:
                raise _refusal(error) from None
        return enforce(params, schema)

    enforce_known.of_textmill = True  # type: ignore[attr-defined]
    mlflow.pyfunc._enforce_params_schema = enforce_known  # type: ignore[attr-defined]


mlflow.models.set_model(TextToText())
