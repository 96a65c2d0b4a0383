"""What the server of `make ui` refuses: pages of other sites, and files outside its store."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlsplit

import mlflow
import pytest
from browser import mlflow_ui

pytestmark = pytest.mark.slow
SECRET = "what only its owner may read"


class Server:
    """A running server, one run with an artifact in its store, and a file beside the store."""

    def __init__(self, address: str, run_id: str, secret: Path) -> None:
        self.host, self.run_id, self.secret = urlsplit(address).netloc, run_id, secret

    def answer(self, path: str, body: object = None, **headers: str) -> tuple[int, bytes]:
        """Status and content. The path goes out as it is: other clients would take `..` out of it."""
        connection = http.client.HTTPConnection(self.host, timeout=3600)
        try:
            content = None if body is None else json.dumps(body)
            connection.request("GET" if body is None else "POST", path, content, {"Content-Type": "application/json", **headers})
            found = connection.getresponse()
            return found.status, found.read()
        finally:
            connection.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("project")
    (folder / "src").symlink_to(Path("src").resolve())
    (folder / "dvc.yaml").touch()  # `textmill ui` runs in a project only
    (folder / "secret.txt").write_text(SECRET)
    with mlflow_ui(folder) as address:
        client = mlflow.MlflowClient(address)
        (experiment,) = client.search_experiments()[:1]
        run = client.create_run(experiment.experiment_id)
        (folder / "note.txt").write_text("an artifact")
        mlflow.MlflowClient(f"sqlite:///{folder}/.mlflow/mlflow.db").log_artifact(run.info.run_id, str(folder / "note.txt"))
        yield Server(address, run.info.run_id, folder / "secret.txt")


def test_it_answers_its_own_user(server: Server) -> None:
    assert server.answer("/")[0] == 200
    assert server.answer(f"/get-artifact?run_uuid={server.run_id}&path=note.txt") == (200, b"an artifact")
    assert server.answer("/api/2.0/mlflow/experiments/search", {"max_results": 1})[0] == 200
    kept = next((server.secret.parent / ".mlflow").rglob("note.txt"))
    assert (kept.parent / UP / "secret.txt").read_text() == SECRET, "the way there is another one: then the tests below show nothing"


@pytest.mark.parametrize(
    "headers", [{"Host": "evil.example"}, {"Host": "evil.example:5000"}, {"Origin": "http://evil"}, {"Origin": "null"}], ids=str
)
def test_pages_of_other_sites_are_refused(server: Server, headers: dict[str, str]) -> None:
    status, content = server.answer("/api/2.0/mlflow/experiments/search", {"max_results": 1}, **headers)
    assert status == 403 and b"experiment" not in content


UP = "../" * 4  # from the artifacts of a run to the folder of the project
PATHS = [
    "../" * 12 + "etc/passwd",
    f"{UP}secret.txt",
    f"a/../{UP}secret.txt",
    f"{UP}secret.txt".replace("/", "\\"),
    "/etc/passwd",
    "file:///etc/passwd",
]


@pytest.mark.parametrize("path", PATHS)
def test_no_file_outside_the_store_is_given_out(server: Server, path: str) -> None:
    dots = path.replace(".", "%2e")
    for written in (path, dots, quote(dots, safe=""), quote(quote(path, safe=""), safe="")):
        for asked in (
            f"/get-artifact?run_uuid={server.run_id}&path={written}",
            f"/ajax-api/2.0/mlflow/get-artifact?run_uuid={server.run_id}&path={written}",
            f"/api/2.0/mlflow/artifacts/list?run_id={server.run_id}&path={written}",
            f"/api/2.0/mlflow-artifacts/artifacts/{written}",
            f"/static-files/{written}",
        ):
            status, content = server.answer(asked)
            assert SECRET.encode() not in content and b"root:" not in content and b'"secret' not in content, asked
            if "get-artifact" in asked:
                assert 400 <= status < 500, (asked, status, content[:200])


@pytest.mark.parametrize("scheme", ["file://", ""])
def test_an_experiment_or_model_whose_files_would_be_any_folder_gives_out_nothing(server: Server, scheme: str) -> None:
    """The folder of a run is one below that of its experiment: MLflow appends its id."""
    folder, name = f"{scheme}{server.secret.parent}", f"any-folder-{len(scheme)}"
    status, content = server.answer("/api/2.0/mlflow/experiments/create", {"name": name, "artifact_location": folder})
    assert status == 200, "it is refused now: then this test can say so"
    started = server.answer("/api/2.0/mlflow/runs/create", {"experiment_id": json.loads(content)["experiment_id"]})
    run_id = json.loads(started[1])["run"]["info"]["run_id"]
    for path in ("secret.txt", "../secret.txt", "../../secret.txt", "%2e%2e/%2e%2e/secret.txt"):
        status, content = server.answer(f"/get-artifact?run_uuid={run_id}&path={path}")
        assert 400 <= status < 500 and SECRET.encode() not in content, path
    assert server.answer("/api/2.0/mlflow/registered-models/create", {"name": name})[0] == 200
    for source in (folder, f"runs:/{run_id}/../..", f"{folder}/{run_id}/artifacts/../.."):
        version = {"name": name, "source": source, "run_id": run_id}
        assert server.answer("/api/2.0/mlflow/model-versions/create", version)[0] == 400, source
    assert 400 <= server.answer(f"/model-versions/get-artifact?name={quote(name)}&version=1&path=secret.txt")[0] < 500
