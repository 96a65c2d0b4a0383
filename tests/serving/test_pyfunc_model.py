"""The exported model in MLflow, called in process and through the scoring server's own app."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.exceptions import MlflowException
from mlflow.pyfunc import scoring_server

from textmill.serving.logging import save_pyfunc
from textmill.serving.text_model import TextModel

TEXTS = ["Open the file", "Save the page"]
RECORDS = [{"source": text} for text in TEXTS]


@pytest.fixture(scope="module")
def served(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder, environment = tmp_path_factory.mktemp("mlflow"), dict(os.environ)
    os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{folder}/mlflow.db"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [*sys.path])  # loading puts the code of the model first
        patch.setattr(mlflow.pyfunc, "_enforce_params_schema", mlflow.pyfunc._enforce_params_schema)
        save_pyfunc(model_folder, folder / "model")
        yield mlflow.pyfunc.load_model(str(folder / "model"), suppress_warnings=True)
    os.environ.clear()
    os.environ.update(environment)


@pytest.fixture(scope="module")
def expected(model_folder: Path) -> list[str]:
    return TextModel.load(model_folder).generate(TEXTS)


def post(model: Any, body: object, content_type: str = "application/json") -> tuple[int, str]:
    """Status and body of the answer to POST /invocations."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    sent: list[dict[str, Any]] = []
    waiting = [{"type": "http.request", "body": content, "more_body": False}]

    async def receive() -> dict[str, Any]:
        if not waiting:
            await asyncio.sleep(60)
        return waiting.pop()

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": "/invocations",
        "raw_path": b"/invocations",
        "query_string": b"",
        "headers": [(b"content-type", content_type.encode())],
    }
    asyncio.run(scoring_server.init(model)(scope, receive, send))
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:]).decode()


@pytest.mark.parametrize(
    "body",
    [
        {"dataframe_records": RECORDS},
        {"dataframe_records": [{"id": 1, **record} for record in RECORDS]},
        {"dataframe_split": {"columns": ["source"], "data": [[text] for text in TEXTS]}},
        {"inputs": TEXTS},
        {"inputs": RECORDS},
        {"inputs": {"source": TEXTS}},
        {"instances": TEXTS},
        {"instances": RECORDS},
        {"inputs": TEXTS, "params": {"beam_size": None, "task": None}},
        {"inputs": TEXTS, "params": {"beam_size": 4, "task": "ui", "with_scores": False}},
    ],
)
def test_every_documented_form_of_a_request_is_translated(served: Any, expected: list[str], body: object) -> None:
    status, answer = post(served, body)
    assert (status, json.loads(answer)) == (200, {"predictions": [{"target": text} for text in expected]})


@pytest.mark.parametrize("body", [{"dataframe_records": []}, {"inputs": []}])
def test_no_texts_have_no_outputs(served: Any, body: object) -> None:
    assert post(served, body) == (200, '{"predictions": []}')


def test_a_blank_source_has_an_empty_target(served: Any) -> None:
    assert post(served, {"inputs": ["", " "]}) == (200, '{"predictions": [{"target": ""}, {"target": ""}]}')


def test_scores_and_truncation_come_when_asked_for(served: Any, model_folder: Path) -> None:
    sources = ["Open the file", "", "Open the file " * 20]
    status, answer = post(served, {"inputs": sources, "params": {"with_scores": True}})
    rows = json.loads(answer)["predictions"]
    assert status == 200
    for row, found in zip(rows, TextModel.load(model_folder).generate_with_scores(sources), strict=True):
        fields = found._asdict()
        assert row == {"target": fields.pop("text"), **fields, "score": pytest.approx(found.score)}
    assert [row["is_source_truncated"] for row in rows] == [False, False, True]


IS_REFUSED: list[tuple[object, str]] = [
    ({"dataframe_records": [{"source": None}]}, "source[0] is None (null), not a string."),
    ({"dataframe_records": [{"source": "a"}, {"source": None}]}, "source[1] is None (null), not a string."),
    ({"inputs": ["a", None]}, "source[1] is None (null), not a string."),
    ({"inputs": [{"source": "a"}, {"source": None}]}, "source[1] is None (null), not a string."),
    ({"instances": ["a", None]}, "source[1] is None (null), not a string."),
    ({"dataframe_records": [{"source": 5}]}, "source[0] is of type int, not a string."),
    ({"dataframe_records": [{"source": "a"}, {"source": 5}]}, "source[1] is of type int, not a string."),
    ({"dataframe_records": [{"source": True}]}, "source[0] is of type bool, not a string."),
    ({"dataframe_records": [{"source": ["a"]}]}, "source[0] is of type list, not a string."),
    ({"inputs": [1, 2]}, "source[0] is of type int, not a string."),
    ({"inputs": "Save the file"}, "source is a single string. Pass a list of strings, such as ['Save the file']."),
    ({"inputs": {"source": "Save the file"}}, "source is a single string."),
    ({"dataframe_records": [{"src": "a"}]}, "the input needs one column 'source' (columns: src)."),
    ({"inputs": {"src": ["a"]}}, "the input needs the column 'source' (columns: src)."),
    ({"inputs": [{"src": "a"}]}, "item 0 needs the key 'source' (keys: src)."),
    ({"inputs": ["a"], "params": {"beam_size": 0}}, "beam_size is 0, but must be a whole number from 1 to "),
    ({"inputs": ["a"], "params": {"beam_size": 2**40}}, "beam_size is 1099511627776, but must be a whole number from 1 to "),
    ({"inputs": ["a"], "params": {"beam_size": "x"}}, "'beam_size'"),
    ({"inputs": ["a"], "params": {"beam_size": 1.5}}, "'beam_size'"),
    ({"inputs": ["a"], "params": {"task": "qa"}}, "task 'qa' is not known to this model. Known: 'ui'."),
    ({"inputs": ["a"], "params": {"task": 5}}, "'task'"),
    ({"inputs": ["a"], "params": {"beam": 2, "beam_size": 2}}, "unknown params: beam. Known: beam_size, task, with_scores."),
    ({"inputs": ["a"], "params": ["beam_size"]}, "Parameters must be a dictionary."),
]


@pytest.mark.parametrize(("body", "reason"), IS_REFUSED)
def test_a_wrong_request_is_answered_400_with_the_reason_and_nothing_of_the_server(served: Any, body: object, reason: str) -> None:
    status, answer = post(served, body)
    assert status == 400 and reason in json.loads(answer)["message"]
    assert json.loads(answer).keys() <= {"error_code", "message", "sqlstate", "error_class"}
    assert not any(word in answer for word in ("Traceback", ".py", str(Path.cwd()), "/tmp"))


def test_a_bug_is_answered_500_without_details(served: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError(f"in {Path.cwd()}")

    monkeypatch.setattr(served.unwrap_python_model().model, "generate", fail)
    status, answer = post(served, {"inputs": ["a"]})
    assert status == 500 and json.loads(answer)["message"].endswith("Internal error. See the log of the server.")
    assert "stack_trace" not in answer and str(Path.cwd()) not in answer
    with pytest.raises(MlflowException) as error:
        served.predict(["a"])
    assert isinstance(error.value.__cause__, RuntimeError), "in process the cause is kept"


@pytest.mark.parametrize(
    "texts",
    [
        TEXTS,
        RECORDS,
        pd.DataFrame(RECORDS),
        pd.DataFrame([{"id": 1, **record} for record in RECORDS], index=[7, 7]),
        pd.Series(TEXTS, name="source"),
        np.array(TEXTS),
        {"source": TEXTS},
    ],
)
def test_predict_takes_tables_lists_of_strings_and_lists_of_dicts(served: Any, expected: list[str], texts: object) -> None:
    assert served.predict(texts)["target"].tolist() == expected
    assert served.predict(texts, params={"beam_size": 4, "task": "ui"})["target"].tolist() == expected


@pytest.mark.parametrize(
    ("texts", "params", "message"),
    [
        ("Save the file", None, "source is a single string. Pass a list of strings, such as ['Save the file']."),
        (["a", None], None, "source[1] is None (null), not a string. Pass a list of strings."),
        ([{"source": 3}], None, "source[0] is of type int, not a string. Pass a list of strings."),
        (pd.DataFrame({"source": ["a", np.nan]}), None, "source[1] is None (null), not a string. Pass a list of strings."),
        (pd.DataFrame({"src": ["a"]}), None, "the input needs one column 'source' (columns: src)."),
        (["a"], {"beam": 2}, "unknown params: beam. Known: beam_size, task, with_scores."),
        (["a"], {"task": "qa"}, "task 'qa' is not known to this model. Known: 'ui'."),
    ],
)
def test_predict_refuses_in_one_line(served: Any, texts: object, params: dict[str, object] | None, message: str) -> None:
    with pytest.raises(MlflowException) as error:
        served.predict(texts, params=params)
    assert str(error.value) == message and error.value.get_http_status_code() == 400


def test_params_of_other_models_are_left_to_mlflow(served: Any) -> None:
    schema = mlflow.types.ParamSchema([mlflow.types.ParamSpec("beam_size", "long", 4)])
    assert mlflow.pyfunc._enforce_params_schema({"beam": 2}, schema) == {"beam_size": 4}
    assert mlflow.pyfunc._enforce_params_schema({"beam": 2}, None) == {}


def test_the_signature_declares_exactly_the_params_that_predict_knows(served: Any) -> None:
    assert {param.name: param.default for param in served.metadata.get_params_schema().params} == {
        "beam_size": 4,
        "task": "",
        "with_scores": False,
    }
    known = "beam_size, task, with_scores"
    with pytest.raises(MlflowException, match=f"Known: {known}"):
        served.predict(["a"], params={"x": 1})
