"""Length of a run, and its learning rate and weight decay as functions of the step alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
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


@dataclass(frozen=True)
class Schedule:
    """Steps, learning rate and weight decay of a run.

    Attributes:
        optim: Settings of the optimiser.
        train: Settings of the length.
        pictures: Number of pictures to train on, from which epochs become steps.
    """

    optim: OptimSettings
    train: TrainSettings
    pictures: int

    @property
    def steps(self) -> int:
        """Optimiser steps of the whole run."""
        if self.train.max_steps is not None:
            return self.train.max_steps
        return max(1, round(self.train.epochs * self.pictures / self.train.batch_size))

    @property
    def warmup(self) -> int:
        """Steps of the warm-up."""
        if self.optim.warmup_steps is not None:
            return self.optim.warmup_steps
        return round(self.optim.warmup_epochs * self.pictures / self.train.batch_size)

    @cached_property
    def peak(self) -> float:
        """Peak learning rate."""
        return self.optim.peak

    def rate(self, step: int) -> float:
        """Return the learning rate of a step, 0 <= step < steps: linear warm-up from 0, then its decline.

        The first step after the warm-up has the peak, the last step of the run has `optim.min_lr`.
        """
        optim, warmup = self.optim, self.warmup
        if step < warmup:
            return self.peak * (step + 1) / (warmup + 1)
        decline = {"cosine": cosine, "linear": linear}[optim.decline]
        return decline(self.peak, optim.min_lr, (step - warmup) / max(1, self.steps - 1 - warmup))

    def weight_decay(self, step: int) -> float:
        """Return the weight decay of a step."""
        first, last = self.optim.weight_decay, self.optim.weight_decay_end
        return first if last is None else cosine(first, last, step / self.steps)

    def check(self, world: int = 1, prefix: str = "") -> None:
        """Refuse a warm-up that is not shorter than the run, and batches that cannot be.

        Args:
            world: Processes that share a batch.
            prefix: Stands before the names of the settings.

        Raises:
            ConfigError: Naming the values.
        """
        batch_size, parts = self.train.batch_size, self.train.accumulate
        check_shared_batch(batch_size, world)
        if batch_size // world < parts:
            raise ConfigError(
                f"{prefix}train.accumulate is {parts}, and each of {world} processes has {batch_size // world} of the "
                f"{batch_size} pictures of a batch; lower it to at most that, or raise {prefix}train.batch_size"
            )
        if self.warmup >= self.steps > 1:
            raise ConfigError(
                f"the warm-up of {self.warmup} steps is not shorter than the run of {self.steps}; "
                f"lower {prefix}optim.warmup_steps (or {prefix}optim.warmup_epochs) or train longer"
            )


def check_batches(pictures: int, batch_sizes: Mapping[str, int]) -> None:
    """Refuse batches that would hold a picture twice.

    Args:
        pictures: To train on.
        batch_sizes: By the names of their settings.

    Raises:
        ConfigError: Naming all that are too large, and the number of pictures.
    """
    large = [f"{name} {size}" for name, size in batch_sizes.items() if size > pictures]
    if large:
        verb, them = ("is", "it") if len(large) == 1 else ("are", "them")
        raise ConfigError(
            f"{' and '.join(large)} {verb} larger than the {pictures} pictures; lower {them} to at most "
            f"{pictures}, or add pictures"
        )
