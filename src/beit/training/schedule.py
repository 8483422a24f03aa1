"""How numbers change over a run, as functions of the step alone."""

from __future__ import annotations

from math import cos, pi


def cosine(start: float, end: float, progress: float) -> float:
    """Return the value at `progress` in [0, 1] on the half cosine from `start` to `end`; constant outside."""
    progress = min(max(progress, 0.0), 1.0)
    return end + (start - end) * (1 + cos(pi * progress)) / 2


def learning_rate(step: int, total: int, warmup: int, peak: float, last: float) -> float:
    """Return the learning rate of a step, 0 <= step < total: linear warm-up from 0, then a half cosine to `last`.

    The first step after the warm-up has the peak, the last step of the run has `last`.
    """
    if step < warmup:
        return peak * (step + 1) / (warmup + 1)
    return cosine(peak, last, (step - warmup) / max(1, total - 1 - warmup))
