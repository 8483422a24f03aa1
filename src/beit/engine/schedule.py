"""How numbers change over a run, as functions of the step alone."""

from __future__ import annotations

from math import cos, pi

from beit.data import check_shared_batch
from beit.errors import ConfigError
from beit.settings.groups import OptimSettings, TrainSettings


def cosine(start: float, end: float, progress: float) -> float:
    """Return the value at `progress` in [0, 1] on the half cosine from `start` to `end`; constant outside."""
    progress = min(max(progress, 0.0), 1.0)
    return end + (start - end) * (1 + cos(pi * progress)) / 2


def linear(start: float, end: float, progress: float) -> float:
    """Return the value at `progress` in [0, 1] on the line from `start` to `end`; constant outside."""
    return start + (end - start) * min(max(progress, 0.0), 1.0)


def learning_rate(step: int, total: int, warmup: int, optim: OptimSettings) -> float:
    """Return the learning rate of a step, 0 <= step < total: linear warm-up from 0, then its decline.

    The first step after the warm-up has the peak, the last step of the run has `optim.min_lr`.
    """
    if step < warmup:
        return optim.lr * (step + 1) / (warmup + 1)
    decline = {"cosine": cosine, "linear": linear}[optim.decline]
    return decline(optim.lr, optim.min_lr, (step - warmup) / max(1, total - 1 - warmup))


def check_length(train: TrainSettings, optim: OptimSettings, pictures: int, world: int = 1, prefix: str = "") -> None:
    """Refuse a warm-up that is not shorter than the run, and a batch that processes and parts cannot share.

    Raises:
        ConfigError: Naming the values; `prefix` stands before the names of the settings.
    """
    check_shared_batch(train.batch_size, world)
    if train.batch_size // world < train.accumulate:
        raise ConfigError(
            f"{prefix}train.accumulate is {train.accumulate}, and each of {world} processes has "
            f"{train.batch_size // world} of the {train.batch_size} pictures of a batch; lower it to at most that, or "
            f"raise {prefix}train.batch_size"
        )
    steps, warmup = total_steps(train, pictures), warmup_steps(optim, train, pictures)
    if warmup >= steps > 1:
        raise ConfigError(
            f"the warm-up of {warmup} steps is not shorter than the run of {steps}; "
            f"lower {prefix}optim.warmup_steps (or {prefix}optim.warmup_epochs) or train longer"
        )


def total_steps(train: TrainSettings, pictures: int) -> int:
    """Return the optimiser steps of a run."""
    if train.max_steps is not None:
        return train.max_steps
    return max(1, round(train.epochs * pictures / train.batch_size))


def warmup_steps(optim: OptimSettings, train: TrainSettings, pictures: int) -> int:
    """Return the steps of the warm-up."""
    if optim.warmup_steps is not None:
        return optim.warmup_steps
    return round(optim.warmup_epochs * pictures / train.batch_size)
