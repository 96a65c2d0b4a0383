"""An open store, and the parent run of this rebuild or search."""

from __future__ import annotations

import getpass
import os
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from textmill.base import paths
from textmill.base.lifetime import is_dvc, process_key, with_ancestors
from textmill.tracking import left_open
from textmill.tracking.notes import Notes
from textmill.tracking.patience import Patience
from textmill.tracking.store import (
    TIMES_TO_PUBLISH,
    T,
    experiment_of,
    is_embedded,
    is_reachable,
    locked_store,
    open_client,
    patience_for,
    say_lost,
    store_folder,
    tracking_uri,
)

_COMMANDS = {"rebuild": "dvc repro", "search": "textmill tune"}
_DESCRIPTIONS = {
    "rebuild": "One rebuild of the pipeline. Its child runs are the stages. When the rebuild is complete, it has all parameters,"
    " the headline metrics, the report and the model.",
    "search": "One search for better settings. Its child runs are the trials.",
}


class Connection:
    """An open store: MlflowClient with the ids of the experiment and of the parent run of this rebuild or search.

    Only the client with explicit ids is used: the fluent API has a state of its own, and MLFLOW_RUN_ID in the
    environment would turn a child into that run.
    """

    def __init__(self, client: Any, experiment_id: str, parent_id: str, role: str) -> None:
        """role: of the parent run, rebuild or search."""
        self.client, self.experiment_id, self.parent_id, self.role = client, experiment_id, parent_id, role
        self.patience: Patience | None = None
        self.notes: Notes | None = None

    def call(self, action: Callable[[], T]) -> T:
        """Do something with the store. Raises TimeoutError for a server that takes too long; it is not asked again in this rebuild."""
        try:
            return action() if self.patience is None else self.patience.call(action)
        except Exception as error:
            is_down = isinstance(error, TimeoutError | ConnectionError) or getattr(error, "error_code", "") == "INTERNAL_ERROR"
            if self.notes is not None and is_down:
                self.notes.give_up()
            raise

    def say_lost(self, error: Exception) -> None:
        """Print the one line that a failure costs."""
        say_lost(error, self.role)


def connect(to_publish: bool = False) -> Connection | None:
    """Open the store and this rebuild's parent run, creating both if need be; None, after one line, if that fails.

    None, without a line, for a server that this rebuild has given up before. to_publish: it is asked all the same, and given more time.
    """
    return _connected("rebuild", rebuild_key, to_publish)


def connect_search(study: str) -> Connection | None:
    """The same for the parent run of a search, which all processes that work on the study share."""
    return _connected("search", lambda: study, False)


def was_opened() -> bool:
    """Has any process of this rebuild opened its parent run, and not given the store up since? Asked without mlflow."""
    notes = _notes("rebuild", rebuild_key())
    return bool(notes.run_id()) and not notes.is_lost()


def rebuild_key() -> str:
    """What the stages of one rebuild have in common: TEXTMILL_REBUILD, or the dvc process above this one."""
    if given := os.environ.get("TEXTMILL_REBUILD"):
        return given
    for pid, command in with_ancestors(os.getppid()):
        if is_dvc(command) and (key := process_key(pid)):
            return key
    return str(process_key(os.getpid()))


def git_state() -> dict[str, str]:
    """Commit and dirty flag as tags, as far as git tells them; no remote address, which may hold a password.

    Files that a rebuild writes do not count: dvc.lock and metrics/ of a clean clone change on another kind of machine.
    """
    commit = _git("rev-parse", "HEAD")
    written = (f":(top,exclude){path}" for path in ("dvc.lock", paths.SUMMARY.parent.as_posix()))
    changes = _git("status", "--porcelain", "--", ":/", *written)
    found = {
        "git.commit": commit,
        "mlflow.source.git.commit": commit,
        "git.dirty": None if changes is None else str(bool(changes)).lower(),
    }
    return {name: value for name, value in found.items() if value}


def source_tags(command: str) -> dict[str, str]:
    """The tags from which the UI fills its columns for user and source. command: that started the run."""
    tags = {"mlflow.source.name": command, "mlflow.source.type": "LOCAL"}
    with suppress(OSError, KeyError):  # a container whose user has no name
        tags["mlflow.user"] = getpass.getuser()
    return tags


def _connected(role: str, key: Callable[[], str], to_publish: bool) -> Connection | None:
    if os.environ.get("TEXTMILL_TRACKING") == "off":
        return None
    notes = None
    try:
        name = key()
        notes = _notes(role, name)
        if is_embedded():
            with locked_store():
                return _connect(open_client(), role, name, notes)
        if notes.is_lost() and not to_publish:
            return None
        patience = patience_for(TIMES_TO_PUBLISH if to_publish else 1)
        if not patience.call(lambda: is_reachable(tracking_uri())):
            raise ConnectionError("no answer")
        client = open_client()
        connection = patience.call(lambda: _connect(client, role, name, notes))
        connection.patience, connection.notes = patience, notes if role == "rebuild" else None
        notes.hope()
        return connection
    except Exception as error:
        if notes is not None and role == "rebuild" and not is_embedded():
            notes.give_up()
        say_lost(error, role)
        return None


def _connect(client: Any, role: str, key: str, notes: Notes) -> Connection:
    experiment = experiment_of(client)
    known = notes.run_id() if role == "rebuild" else ""  # a search may be older than a store that was emptied since
    if not known:
        found = client.search_runs([experiment], f"tags.`textmill.{role}` = '{key}' and tags.`textmill.role` = '{role}'", max_results=1)
        known = found[0].info.run_id if found else ""
        if known and role == "rebuild":
            notes.claim(known)
    if role == "search" or not known:  # a search is gone on with: what its killed processes have left is found by the next one
        left_open.close_left_open(client, experiment, but=known)
    return Connection(client, experiment, known or _new_parent(client, experiment, role, key, notes), role)


def _new_parent(client: Any, experiment: str, role: str, key: str, notes: Notes) -> str:
    """Create the parent run. Of several processes that do it at once, the first one's counts, and the others delete theirs."""
    tags = {"textmill.role": role, f"textmill.{role}": key, "textmill.process": this_process(), **git_state()}
    tags |= source_tags(_COMMANDS[role]) | {"mlflow.note.content": _DESCRIPTIONS[role]}
    name = os.environ.get("DVC_EXP_NAME") or time.strftime(f"{role} %Y-%m-%d %H:%M:%S")  # dvc exp run sets it
    mine = str(client.create_run(experiment, run_name=name, tags=tags).info.run_id)
    first = notes.claim(mine)
    if first == mine:
        return mine
    if client.get_run(first).info.lifecycle_stage != "active":
        return notes.replace(mine)
    client.delete_run(mine)
    return first


def _notes(role: str, key: str) -> Notes:
    return Notes(store_folder() / "notes", tracking_uri(), role, key)


def this_process() -> str:
    """The tag `textmill.process` of a run: who must be alive for it to be RUNNING."""
    return f"{socket.gethostname()} {process_key(os.getpid())}"


def _git(*arguments: str) -> str | None:
    """What git prints; None if it fails (no repository, no commit yet) or is not there."""
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None
