"""Learning rate schedules: functions of the step, counted from 1."""

from __future__ import annotations

import math
from collections.abc import Callable

from textmill.train.settings import TrainSettings


def inverse_sqrt(step: int, settings: TrainSettings) -> float:
    """Linear warm-up, then decay proportional to 1/sqrt(step). Vaswani et al. 2017, section 5.3."""
    warmup = max(settings.num_warmup_steps, 1)
    return settings.learning_rate * min(step / warmup, math.sqrt(warmup / step))


def step_lr(step: int, settings: TrainSettings) -> float:
    """Multiply the rate by gamma every step_size steps, as torch.optim.lr_scheduler.StepLR does. There is no warm-up."""
    return settings.learning_rate * settings.gamma ** ((step - 1) // settings.step_size)


def cosine(step: int, settings: TrainSettings) -> float:
    """Linear warm-up, then half a cosine that would reach 0 one step after the last. Loshchilov & Hutter 2017, without restarts."""
    if step <= settings.num_warmup_steps:
        return settings.learning_rate * step / settings.num_warmup_steps
    done = (step - settings.num_warmup_steps) / (settings.max_steps + 1 - settings.num_warmup_steps)
    return settings.learning_rate * 0.5 * (1 + math.cos(math.pi * done))


def constant(step: int, settings: TrainSettings) -> float:
    """Linear warm-up, then a constant rate."""
    return settings.learning_rate * min(step / max(settings.num_warmup_steps, 1), 1.0)


def warmup_stable_decay(step: int, settings: TrainSettings) -> float:
    """Linear warm-up, a constant rate, then linear decay towards 0 over the last `decay_steps`. Hu et al. 2024, section 4."""
    remaining = settings.max_steps + 1 - step
    return constant(step, settings) * min(remaining / max(settings.decay_steps, 1), 1.0)


SCHEDULES: dict[str, Callable[[int, TrainSettings], float]] = {
    "inverse_sqrt": inverse_sqrt,
    "step_lr": step_lr,
    "cosine": cosine,
    "constant": constant,
    "warmup_stable_decay": warmup_stable_decay,
}
