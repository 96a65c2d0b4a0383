from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from textmill.base import command
from textmill.base.errors import UserError
from textmill.track import publication
from textmill.tracking.connection import Connection, connect
from textmill.tracking.redaction import redacted
from textmill.tracking.runs import RunLog
from textmill.tracking.store import fetched
from textmill.tracking.values import environment_tags, flat_params

ADDRESS = "https://ann:c4n%40ry/x@mlflow.example:5000/store?password=h1dden&tls=1"


@pytest.fixture
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", ADDRESS)
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "t0ken")


def is_clean(text: str) -> bool:
    return not [secret for secret in ("c4n", "ry/x", "h1dden", "t0ken", "ann:") if secret in text]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://u:p@h/x failed", "http://***@h/x failed"),
        ("http://u@h:1", "http://***@h:1"),
        ("http://u:p@ss@h/x@y", "http://***@h/x@y"),
        ("'postgresql+psycopg://u:p@h/db' and 'ssh://git@h/r.git'", "'postgresql+psycopg://***@h/db' and 'ssh://***@h/r.git'"),
        (
            "https://h/db?user=u&password=p&x=1 s3://b/k?X-Amz-Signature=s",
            "https://h/db?user=u&password=***&x=1 s3://b/k?X-Amz-Signature=***",
        ),
        ("http://h:80/a@b, mail a@b.c", "http://h:80/a@b, mail a@b.c"),
        ("sqlite:////work/mlflow.db", "sqlite:////work/mlflow.db"),
        ("no address", "no address"),
    ],
)
def test_user_information_and_secrets_in_queries_are_left_out(text: str, shown: str) -> None:
    assert redacted(text) == shown


@pytest.mark.parametrize(
    "text",
    [ADDRESS, "user ann:c4n@ry/x", "password c4n@ry/x refused", "c4n%40ry/x", "Bearer t0ken", f"GET {ADDRESS}/api: 500", "password h1dden"],
)
def test_what_the_environment_holds_is_left_out_wherever_it_is_shown(secrets: None, text: str) -> None:
    assert is_clean(redacted(text)) and "***" in redacted(text)


def test_a_secret_that_is_part_of_words_leaves_them_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "a")
    assert redacted("a table of data") == "a table of data"


class Broken:
    """A client of MLflow that fails with the address in its message, whatever it is asked."""

    def __getattr__(self, name: str) -> Any:
        def fail(*_: object, **__: object) -> None:
            raise ConnectionError(f"API request to {ADDRESS}/api/2.0/{name} failed with t0ken")

        return fail


def test_no_message_about_tracking_holds_a_password(
    secrets: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = Connection(Broken(), "1", "parent", "rebuild")
    RunLog(broken, "run").tag("a", "b")
    monkeypatch.setattr(publication, "connect", lambda to_publish: broken)
    assert publication.publish_rebuild([], Path("dvc.lock"), "model") is None
    monkeypatch.setattr("textmill.tracking.connection.open_client", Broken().client)
    assert connect() is None
    monkeypatch.setattr("textmill.tracking.store.mlflow_module", Broken().module)
    with pytest.raises(UserError) as error:
        fetched("runs:/1/model")
    shown = "".join(capsys.readouterr())
    assert shown.count("tracking: ") == 3
    assert is_clean(shown + str(error.value)), shown


def test_no_tag_and_no_param_holds_a_password(secrets: None) -> None:
    sent: list[str] = []
    client = SimpleNamespace(set_tag=lambda *values: sent.extend(values))
    RunLog(Connection(client, "1", "parent", "rebuild"), "run").tag("remote", f"fetched from {ADDRESS}")
    sent += flat_params({"clean": {"scheduler": "tls://u:c4n@h:1", "list": [ADDRESS]}}).values()
    sent += environment_tags({"MKL_CBWR": ADDRESS}).values()
    assert len(sent) == 6 and is_clean("".join(sent)), sent


def test_no_traceback_of_a_stage_holds_a_password(secrets: None, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        raise RuntimeError(f"cannot pull from {ADDRESS}")
    except RuntimeError as error:
        command._print_redacted(type(error), error, error.__traceback__)
    shown = capsys.readouterr().err
    assert "RuntimeError: cannot pull from https://***@mlflow.example:5000/store" in shown and is_clean(shown)
