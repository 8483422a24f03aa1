"""Length of a run, its learning rate and weight decay as functions of the step alone, and the rates known to learn.

`optim.lr: auto` stands for the published ones. One rule takes them to other batches, the square root: a quarter of the
pictures takes half of the rate. So the authors lower theirs (1.5e-3 at 2,048 pictures, half of it at 512:
github.com/microsoft/unilm/issues/383), and so the noise of Adam's updates stays what it was (Malladi et al. 2022, arXiv
2205.10287).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import cos, pi, sqrt

from beit.data import check_shared_batch
from beit.errors import ConfigError
from beit.settings.groups import OptimSettings, TrainSettings

LONGEST_WARMUP = 10.0  # epochs: that of the published pre-training, and of a hundred epochs a tenth
_WARMUP_SHARE = 0.1


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
        return round(self.warmup_epochs * self.pictures / self.train.batch_size)

    @property
    def warmup_epochs(self) -> float:
        """Length of the warm-up in epochs, unless it is given in steps; `auto` as the number that it stands for."""
        given = self.optim.warmup_epochs
        if given != "auto":
            return given
        train = self.train
        epochs = train.epochs if train.max_steps is None else train.max_steps * train.batch_size / self.pictures
        return min(LONGEST_WARMUP, float(f"{epochs * _WARMUP_SHARE:.3g}"))

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
        """Refuse a warm-up that is not shorter than the run, a decline that would rise, and batches that cannot be.

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
        rate, least = self.optim.lr, self.optim.min_lr
        if rate != "auto" and least > rate:
            raise ConfigError(
                f"{prefix}optim.min_lr is {least:g} and {prefix}optim.lr {rate:g}, so that the rate would rise to the "
                f"end; set {prefix}optim.min_lr to less, such as {rate / 100:g}"
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


@dataclass(frozen=True)
class Rate:
    """A peak learning rate that is known to learn.

    Attributes:
        lr: The rate.
        batch_size: Pictures per step that it is for; None: any, where no rule is known.
        source: What it was published or measured for.
    """

    lr: float
    batch_size: int | None
    source: str

    def at(self, batch_size: int) -> float:
        """Return the rate for a number of pictures per step, to three digits."""
        factor = 1.0 if self.batch_size is None else sqrt(batch_size / self.batch_size)
        return float(f"{self.lr * factor:.3g}")

    def reason(self, batch_size: int) -> str:
        """Return the way from the source to the rate for a number of pictures per step."""
        if self.batch_size is None:
            return f"that of {self.source}"
        known = f"{self.lr:g} at {self.batch_size:,} pictures per step, that of {self.source}"
        return known if batch_size == self.batch_size else f"by the square root of the batch from {known}"


PRETRAINING = Rate(1.5e-3, 2048, "the published pre-training")
PRETRAINING_MUON = Rate(6e-3, None, "recipes/pretrain_cifar10_nano.yaml, measured with Muon")
FINETUNING = Rate(4e-3, 1024, "the published fine-tuning after self-supervised pre-training, base model")
FINETUNING_LARGE = Rate(1e-3, 1024, "the published fine-tuning after self-supervised pre-training, large model")
FINETUNED_BEFORE = Rate(2e-5, 512, "the published fine-tuning of a model that was fine-tuned before")
PROBE = Rate(4e-3, 1024, "the published linear probe")
SCRATCH = Rate(1e-3, 1024, "published trainings from random weights (DeiT)")
SEGMENTATION = Rate(1e-3, 16, "the published segmentation after self-supervised pre-training")
SEGMENTATION_FINETUNED_BEFORE = Rate(3e-5, 16, "the published segmentation of a model that was fine-tuned before")
