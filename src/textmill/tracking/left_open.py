"""Runs that MLflow leaves RUNNING for ever, because their process was killed before it could close them."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

from textmill.base.lifetime import is_alive

_PAGE = 500


def runs_left_open(client: Any, experiment: str, but: str = "") -> list[Any]:
    """The runs of this machine's processes that are gone, children first.

    but: the id of a run that is about to be gone on with. A rebuild or a search lives as long as any process that it consists of.
    """
    running = [run for run in _running(client, experiment) if run.info.run_id != but]
    alive = {run.info.run_id for run in running if _is_at_work(run)}
    alive |= {run.data.tags.get("mlflow.parentRunId") for run in running if run.info.run_id in alive}
    dead = [run for run in running if run.info.run_id not in alive]
    return sorted(dead, key=lambda each: "mlflow.parentRunId" not in each.data.tags)


def close_left_open(client: Any, experiment: str, but: str = "") -> int:
    """Close them as KILLED; returns how many they are.

    FINISHED is a word that such a run never gets: of a rebuild, the stage `track` alone says so.
    """
    dead = runs_left_open(client, experiment, but)
    for run in dead:
        if run.data.tags.get("textmill.role") == "trial":
            client.set_tag(run.info.run_id, "state", "failed")
        client.set_terminated(run.info.run_id, "KILLED")
    return len(dead)


def _running(client: Any, experiment: str) -> Iterator[Any]:
    page = None
    while True:
        found = client.search_runs([experiment], "attributes.status = 'RUNNING'", max_results=_PAGE, page_token=page)
        yield from found
        page = found.token
        if not page:
            return


def _is_at_work(run: Any) -> bool:
    """Is the process that opened it alive, or is it another machine's, or nobody's that we know?"""
    host, _, process = run.data.tags.get("textmill.process", "").partition(" ")
    if host != socket.gethostname():
        return True
    return is_alive(process) or is_alive(run.data.tags.get("textmill.rebuild", ""))
