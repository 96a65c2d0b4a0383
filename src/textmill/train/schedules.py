"""Learning rates as pure functions of the step, counted from 1."""

from __future__ import annotations

import math
from collections.abc import Callable

from textmill.train.settings import TrainSettings


def inverse_sqrt(step: int, settings: TrainSettings) -> float:
    """Linear warm-up to the highest rate, then falling with 1/sqrt(step). Vaswani et al. 2017, section 5.3."""
    warmup = max(settings.warmup_steps, 1)
    return settings.learning_rate * min(step / warmup, math.sqrt(warmup / step))


def step_lr(step: int, settings: TrainSettings) -> float:
    """The highest rate times gamma every step_size steps: torch.optim.lr_scheduler.StepLR. Warm-up is ignored."""
    return settings.learning_rate * settings.gamma ** ((step - 1) // settings.step_size)


def cosine(step: int, settings: TrainSettings) -> float:
    """Linear warm-up, then half a cosine down to 0 behind the last step. Loshchilov & Hutter 2017, without restarts."""
    if step <= settings.warmup_steps:
        return settings.learning_rate * step / settings.warmup_steps
    done = (step - settings.warmup_steps) / (settings.max_steps + 1 - settings.warmup_steps)
    return settings.learning_rate * 0.5 * (1 + math.cos(math.pi * done))


def constant(step: int, settings: TrainSettings) -> float:
    """Linear warm-up, then the highest rate."""
    return settings.learning_rate * min(step / max(settings.warmup_steps, 1), 1.0)


def warmup_stable_decay(step: int, settings: TrainSettings) -> float:
    """Linear warm-up, the highest rate, then over the last `decay_steps` linearly towards 0. Hu et al. 2024, section 4."""
    left = settings.max_steps + 1 - step
    return constant(step, settings) * min(left / max(settings.decay_steps, 1), 1.0)


SCHEDULES: dict[str, Callable[[int, TrainSettings], float]] = {
    "inverse_sqrt": inverse_sqrt,
    "step_lr": step_lr,
    "cosine": cosine,
    "constant": constant,
    "warmup_stable_decay": warmup_stable_decay,
}
