"""What a run trains, on what, for how long: all that the loop has to be told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor, nn

from beit.data import Collate, ViewDataset
from beit.engine.early_stop import EarlyStop
from beit.engine.schedule import cosine, learning_rate, total_steps, warmup_steps
from beit.errors import ConfigError
from beit.reports.gallery import Gallery
from beit.settings.groups import DataSettings, OptimSettings, RunSettings, TrainSettings


class Objective(Protocol):
    """What a job trains.

    Attributes:
        module: Called with (tensors of a batch, progress of the run in [0, 1]); returns scalars, "loss" among them.
        groups: Parameter groups, with `weight_decay` and `lr_scale`.
        model: The part of it that is exported.
    """

    @property
    def model(self) -> nn.Module:
        """The part of it that is exported."""
        ...

    @property
    def module(self) -> nn.Module:
        """Called with (tensors of a batch, progress); returns scalars, "loss" among them."""
        ...

    @property
    def groups(self) -> list[dict[str, object]]:
        """Parameter groups, with `weight_decay` and `lr_scale`."""
        ...

    def prepare(self, tensors: Mapping[str, Tensor], step: int) -> Mapping[str, Tensor]:
        """Return what the module takes: the tensors of a batch, and what is made of them, without gradients."""
        ...

    def weight(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """Return how many things the loss of a batch is the mean of, a scalar: pictures, masked patches."""
        ...

    def save(self, folder: Path, model: Any = None) -> None:
        """Write the model, or another of the same kind such as its moving average, into a folder."""
        ...

    def load(self, folder: Path) -> None:
        """Fill the model from such a folder."""
        ...


def recompute(model: nn.Module) -> None:
    """Let a model compute the inside of its layers again in the backward pass.

    Raises:
        ConfigError: If it cannot.
    """
    enable: Any = getattr(model, "gradient_checkpointing_enable", None)
    if enable is None:
        raise ConfigError("train.recompute is true, but a tokenizer has no layers to compute again; leave it out")
    enable()


def check_no_layer_decay(optim: OptimSettings) -> None:
    """Refuse a layer-wise decay where layers do not know their depth.

    Raises:
        ConfigError: If one is set.
    """
    if optim.layer_decay != 1:
        raise ConfigError(f"optim.layer_decay is {optim.layer_decay}; tokenizers have none: leave it out")


@dataclass(frozen=True)
class Plan:
    """Everything about a run but its objective."""

    title: str
    run: RunSettings
    data: DataSettings
    optim: OptimSettings
    train: TrainSettings
    dataset: ViewDataset
    collate: Collate
    early_stop: EarlyStop | None = None
    facts: Mapping[str, str] = field(default_factory=dict[str, str])  # what must be the same when the run continues
    flops: float | None = None  # operations per picture in a training step, if they are known
    gallery: Gallery | None = None  # pictures of what the model makes of the same few, while it learns
    together: int = 1  # neighbours in the order that one process gets, because they are mixed with each other

    @property
    def steps(self) -> int:
        """Optimiser steps of the whole run."""
        return total_steps(self.train, len(self.dataset))

    @property
    def warmup(self) -> int:
        """Steps of the warm-up."""
        return warmup_steps(self.optim, self.train, len(self.dataset))

    def rate(self, step: int) -> float:
        """Return the learning rate of a step."""
        return learning_rate(step, self.steps, self.warmup, self.optim)

    def weight_decay(self, step: int) -> float:
        """Return the weight decay of a step."""
        first, last = self.optim.weight_decay, self.optim.weight_decay_end
        return first if last is None else cosine(first, last, step / self.steps)
