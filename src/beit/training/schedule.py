"""How numbers change over a run, as functions of the step alone."""

from __future__ import annotations

from math import cos, pi

from beit.training.settings import OptimSettings


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
