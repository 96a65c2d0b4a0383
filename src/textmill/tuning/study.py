"""The study: the trials of all processes and machines that search together, in one database."""

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
_SECONDS_UNTIL_STALE = 120  # also when nobody on its own machine is left to notice that a trial's process is gone
_SECONDS_FOR_A_LOCK = 60.0  # SQLite: several processes write, one at a time
STORAGE_ERRORS = (StorageInternalError, SQLAlchemyError)  # of a database that worked when the study was opened
_AGAIN_OF = "again_of"  # on a trial that has the values of one that did not end by itself: the other's number


def open_study(name: str, settings: SearchSettings, storage: str) -> Study:
    """Make the study, or join it. storage: a database URL as SQLAlchemy takes it.

    Raises UserError if the database does not answer; the message has no password.
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
    except Exception as error:  # of SQLAlchemy, of any driver, or ImportError for one that is not installed
        raise UserError(
            f"the storage {redacted(storage)} cannot be used ({reason_of(error)}). Check TUNE_STORAGE, and that its driver is installed."
        ) from None


def reason_of(error: Exception) -> str:
    """What a database says, in one short line without a password."""
    return redacted(" ".join(str(error).split()))[:200] or type(error).__name__


def claim(trial: Trial) -> None:
    """Say which process runs the trial, so that `recover` knows whether it still does."""
    trial.set_user_attr("process", f"{socket.gethostname()} {process_key(os.getpid())}")


def try_again(study: Study, trial: Trial | FrozenTrial) -> None:
    """Have the values of a trial that was interrupted tried once more, instead of it."""
    study.enqueue_trial(trial.params, user_attrs={_AGAIN_OF: trial.number})


def recover(study: Study) -> list[int]:
    """Mark as failed the trials whose process on this machine is gone, or on another gives no sign of life any more, and have
    their values tried again. Returns their numbers.
    """
    before = _replaced(study.get_trials(deepcopy=False))
    optuna.storages.fail_stale_trials(study)  # Optuna itself asks only when a trial starts
    for trial in study.get_trials(deepcopy=False, states=[TrialState.RUNNING]):
        if _is_gone(trial):
            try:
                study.tell(trial.number, state=TrialState.FAIL)
            except (ValueError, UpdateFinishedTrialError):  # another process was faster
                continue
            try_again(study, trial)
    return sorted(_replaced(study.get_trials(deepcopy=False)) - before)


def is_taken_away(study: Study, number: int) -> bool:
    """Has another process taken this trial for dead, and has its values tried again?"""
    return number in _replaced(study.get_trials(deepcopy=False))


def enqueue_current(study: Study, space: Mapping[str, Dimension], current: Mapping[str, Any]) -> bool:
    """Have the values of params.yaml tried first, if all are inside the space: what is found has to beat them."""
    stored = {key: dimension.stored(current[key]) for key, dimension in space.items()}
    if any(value is None for value in stored.values()):
        return False
    study.enqueue_trial(stored, skip_if_exists=True)
    return True


def counted(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Trials that have ended by themselves or run now: not those that wait, or are tried again."""
    replaced = _replaced(trials)
    return [trial for trial in trials if trial.state != TrialState.WAITING and trial.number not in replaced]


def _replaced(trials: Sequence[FrozenTrial]) -> set[int]:
    return {trial.user_attrs[_AGAIN_OF] for trial in trials if _AGAIN_OF in trial.user_attrs}


def best_trial(study: Study) -> FrozenTrial | None:
    """The best trial that ran to its end, or None."""
    try:
        return study.best_trial
    except ValueError:
        return None


def _is_gone(trial: FrozenTrial) -> bool:
    host, _, key = str(trial.user_attrs.get("process", "")).partition(" ")
    return host == socket.gethostname() and not is_alive(key)


class _SeededByTrial(BaseSampler):
    """TPE whose random state is made from the seed and the trial's number: processes that search together draw different values."""

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
