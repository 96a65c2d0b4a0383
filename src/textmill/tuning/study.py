"""The Optuna study: one database with the trials of all processes and machines of a search."""

from __future__ import annotations

import os
import socket
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.pruners import MedianPruner
from optuna.samplers import BaseSampler, TPESampler
from optuna.storages import RDBStorage
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from textmill.base.errors import UserError
from textmill.base.lifetime import is_alive, process_key
from textmill.tracking.redaction import redacted
from textmill.tuning.settings import SearchSettings
from textmill.tuning.space import Dimension

_SECONDS_BETWEEN_HEARTBEATS = 20
_SECONDS_UNTIL_STALE = 120  # after this time without heartbeat, other machines take over the trial
_SECONDS_FOR_A_LOCK = 60.0  # SQLite lets one process write at a time
STORAGE_ERRORS = (StorageInternalError, SQLAlchemyError)  # after the study was opened
_AGAIN_OF = "again_of"  # attribute of a repeated trial: the number of the interrupted trial


def open_study(name: str, settings: SearchSettings, storage: str) -> Study:
    """Create the study, or join an existing one. storage: database URL in SQLAlchemy's format.

    Raises UserError if the database cannot be used. The message contains no password.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # heartbeats
    arguments = {"connect_args": {"timeout": _SECONDS_FOR_A_LOCK}} if storage.startswith("sqlite:") else {"pool_pre_ping": True}
    try:
        database = RDBStorage(
            storage,
            engine_kwargs=arguments,
            heartbeat_interval=_SECONDS_BETWEEN_HEARTBEATS,
            grace_period=_SECONDS_UNTIL_STALE,
            heartbeat_stale_trial_callback=try_again,
        )
        return optuna.create_study(
            storage=database,
            sampler=_SeededByTrial(settings),
            pruner=MedianPruner(n_startup_trials=settings.startup_trials, n_warmup_steps=settings.min_steps),
            study_name=name,
            direction=settings.direction,
            load_if_exists=True,
        )
    except Exception as error:  # from SQLAlchemy or any driver; ImportError if the driver is not installed
        raise UserError(
            f"the storage {redacted(storage)} cannot be used ({reason_of(error)}). Check TUNE_STORAGE, and install its driver."
        ) from None


def reason_of(error: Exception) -> str:
    """Return a database error as one short line without passwords."""
    return redacted(" ".join(str(error).split()))[:200] or type(error).__name__


def claim(trial: Trial) -> None:
    """Record which process runs the trial, so that `recover` can check whether it is alive."""
    trial.set_user_attr("process", f"{socket.gethostname()} {process_key(os.getpid())}")


def try_again(study: Study, trial: Trial | FrozenTrial) -> None:
    """Queue a new trial with the values of an interrupted trial, which it replaces."""
    study.enqueue_trial(trial.params, user_attrs={_AGAIN_OF: trial.number})


def recover(study: Study) -> list[int]:
    """Mark dead trials as failed and queue their values again. Returns their numbers.

    A trial is dead if its process on this machine is gone, or if its process on another machine sends no heartbeat.
    """
    before = _replaced(study.get_trials(deepcopy=False))
    optuna.storages.fail_stale_trials(study)  # Optuna itself does this only when a trial starts
    for trial in study.get_trials(deepcopy=False, states=[TrialState.RUNNING]):
        if _is_gone(trial):
            try:
                study.tell(trial.number, state=TrialState.FAIL)
            except (ValueError, UpdateFinishedTrialError):  # another process was faster
                continue
            try_again(study, trial)
    return sorted(_replaced(study.get_trials(deepcopy=False)) - before)


def is_taken_away(study: Study, number: int) -> bool:
    """True if another process has declared this trial dead and queued its values again."""
    return number in _replaced(study.get_trials(deepcopy=False))


def enqueue_current(study: Study, space: Mapping[str, Dimension], current: Mapping[str, Any]) -> bool:
    """Queue the values of params.yaml as the first trial, the baseline. Returns False if a value is outside the search space."""
    stored = {key: dimension.stored(current[key]) for key, dimension in space.items()}
    if any(value is None for value in stored.values()):
        return False
    study.enqueue_trial(stored, skip_if_exists=True)
    return True


def counted(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Return the trials that have ended or are running, without waiting trials and interrupted ones that were replaced."""
    replaced = _replaced(trials)
    return [trial for trial in trials if trial.state != TrialState.WAITING and trial.number not in replaced]


def _replaced(trials: Sequence[FrozenTrial]) -> set[int]:
    return {trial.user_attrs[_AGAIN_OF] for trial in trials if _AGAIN_OF in trial.user_attrs}


def best_trial(study: Study) -> FrozenTrial | None:
    """Return the best completed trial, or None."""
    try:
        return study.best_trial
    except ValueError:
        return None


def _is_gone(trial: FrozenTrial) -> bool:
    host, _, key = str(trial.user_attrs.get("process", "")).partition(" ")
    return host == socket.gethostname() and not is_alive(key)


class _SeededByTrial(BaseSampler):
    """TPE with a random state per trial, derived from the seed and the trial number, so that parallel processes draw different values."""

    def __init__(self, settings: SearchSettings) -> None:
        self._seed, self._startup_trials = settings.seed, settings.startup_trials
        self._tpe = self._of(0)

    def _of(self, number: int) -> TPESampler:
        seed = int(np.random.SeedSequence([self._seed, number]).generate_state(1)[0])
        return TPESampler(seed=seed, n_startup_trials=self._startup_trials)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        self._tpe = self._of(trial.number)
        self._tpe.before_trial(study, trial)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self._tpe.infer_relative_search_space(study, trial)

    def sample_relative(self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]) -> dict[str, Any]:
        return self._tpe.sample_relative(study, trial, search_space)

    def sample_independent(self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution) -> Any:
        return self._tpe.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        self._tpe.after_trial(study, trial, state, values)
