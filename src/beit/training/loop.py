"""The one training loop. Jobs differ in their objective, their data, and what they make of the trained model."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from beit.data import BatchOrder, Collate, Purpose, ViewDataset, generator, training_batches
from beit.errors import BeitError, ConfigError, DataError
from beit.training.broken import BrokenPictures
from beit.training.checkpoint import latest_checkpoint, restore_checkpoint, save_checkpoint
from beit.training.device import reproducible
from beit.training.metrics import MetricsLog
from beit.training.optimiser import build_optimiser, set_learning_rate
from beit.training.progress import RunProgress
from beit.training.run_folder import RunFolder
from beit.training.schedule import learning_rate
from beit.training.settings import DataSettings, OptimSettings, RunSettings, TrainSettings


class Objective(Protocol):
    """What a job trains.

    Attributes:
        module: Called with (tensors of a batch, progress of the run in [0, 1]); returns scalars, "loss" among them.
        groups: Parameter groups, with `weight_decay` and `lr_scale`.
    """

    @property
    def module(self) -> nn.Module:
        """Called with (tensors of a batch, progress); returns scalars, "loss" among them."""
        ...

    @property
    def groups(self) -> list[dict[str, object]]:
        """Parameter groups, with `weight_decay` and `lr_scale`."""
        ...

    def save(self, folder: Path) -> None:
        """Write the model into a folder."""
        ...

    def load(self, folder: Path) -> None:
        """Fill the model from such a folder."""
        ...


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

    @property
    def steps(self) -> int:
        """Optimiser steps of the whole run."""
        if self.train.max_steps is not None:
            return self.train.max_steps
        return max(1, round(self.train.epochs * len(self.dataset) / self.train.batch_size))

    @property
    def warmup(self) -> int:
        """Steps of the warm-up."""
        if self.optim.warmup_steps is not None:
            return self.optim.warmup_steps
        return round(self.optim.warmup_epochs * len(self.dataset) / self.train.batch_size)


def train(plan: Plan, objective: Objective, folder: RunFolder, accelerator: Accelerator) -> None:
    """Train from the newest checkpoint of the folder (or from the start) to the end of the plan.

    Raises:
        ConfigError: If the settings do not fit together.
        DataError: If too many pictures are broken.
        StorageError: If the disk is full.
        BeitError: If the loss is no longer finite.
    """
    if plan.warmup >= plan.steps and plan.steps > 1:
        raise ConfigError(
            f"the warm-up of {plan.warmup} steps is not shorter than the run of {plan.steps}; "
            "lower optim.warmup_steps (or optim.warmup_epochs) or train longer"
        )
    with reproducible():
        _Loop(plan, objective, folder, accelerator).run()


class _Loop:
    """The state of a running loop."""

    def __init__(self, plan: Plan, objective: Objective, folder: RunFolder, accelerator: Accelerator) -> None:
        self.plan, self.objective, self.folder, self.accelerator = plan, objective, folder, accelerator
        self.optimiser: Any = build_optimiser(objective.groups, plan.optim)
        self.start = self._restore()
        self.module, self.optimiser = accelerator.prepare(objective.module, self.optimiser)
        listing = folder.broken if accelerator.is_main_process else None
        self.broken = BrokenPictures(listing, len(plan.dataset), plan.data.max_broken)

    def run(self) -> None:
        """Train to the end, and leave a checkpoint there."""
        plan, main = self.plan, self.accelerator.is_main_process
        if self.start >= plan.steps:
            return
        self.module.train()
        with (
            MetricsLog(self.folder, self.start, active=main) as metrics,
            RunProgress(plan.title, self.start, plan.steps, visible=main) as progress,
        ):
            for step, batch in enumerate(self._batches(), start=self.start):
                self.broken.add(batch.broken)
                if not batch.indices:
                    raise DataError(f"no picture of a whole batch is usable; first: {batch.broken[0].reason}")
                values = self._step(step, batch.to(self.accelerator.device).tensors)
                finished = step + 1
                loss = None
                if finished % plan.run.log_every == 0 or finished == plan.steps:
                    numbers = self._numbers(step, values, progress)
                    metrics.write(finished, "train", numbers)
                    loss = numbers["loss"]
                progress.advance(finished, plan.train.batch_size, loss)
                if finished % plan.run.save_every == 0 or finished == plan.steps:
                    self._save(finished)
        if main and (summary := self.broken.summary()):
            print(summary)  # noqa: T201  # a person has to know

    def _batches(self) -> Any:
        plan, accelerator = self.plan, self.accelerator
        order = BatchOrder(
            len(plan.dataset),
            plan.train.batch_size,
            plan.steps,
            plan.run.seed,
            self.start,
            accelerator.process_index,
            accelerator.num_processes,
        )
        pin = accelerator.device.type == "cuda"
        return training_batches(plan.dataset, order, plan.collate, plan.data.workers, pin)

    def _step(self, step: int, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Take one optimiser step and return its scalars."""
        plan, optim = self.plan, self.plan.optim
        torch.manual_seed(step_seed(plan.run.seed, step, self.accelerator.process_index))
        set_learning_rate(self.optimiser, learning_rate(step, plan.steps, plan.warmup, optim.lr, optim.min_lr))
        values: dict[str, Tensor] = self.module(tensors, step / plan.steps)
        self.accelerator.backward(values["loss"])
        limit = math.inf if optim.clip_grad is None else optim.clip_grad
        norm = self.accelerator.clip_grad_norm_(self.module.parameters(), limit)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        return {**values, "grad_norm": torch.as_tensor(norm)}

    def _numbers(self, step: int, values: Mapping[str, Tensor], progress: RunProgress) -> dict[str, float]:
        """Return the scalars of a step as numbers, averaged over the processes."""
        plan, optim = self.plan, self.plan.optim
        numbers = {name: self._mean(value) for name, value in values.items()}
        if not math.isfinite(numbers["loss"]):
            raise BeitError(
                f"the loss is {numbers['loss']} at step {step + 1}; lower optim.lr, lengthen the warm-up or set "
                f"optim.clip_grad. Checkpoints up to then are in {self.folder.checkpoints}"
            )
        numbers["lr"] = learning_rate(step, plan.steps, plan.warmup, optim.lr, optim.min_lr)
        numbers["epoch"] = (step + 1) * plan.train.batch_size / len(plan.dataset)
        numbers["images_per_second"] = round(progress.images_per_second, 1)
        return numbers

    def _mean(self, value: Tensor) -> float:
        value = value.detach().float()
        reduced: Any = self.accelerator.reduce(value, "mean") if self.accelerator.num_processes > 1 else value
        return float(reduced)

    def _restore(self) -> int:
        checkpoint = latest_checkpoint(self.folder.checkpoints)
        if checkpoint is None:
            return 0
        self.objective.load(checkpoint)
        step = restore_checkpoint(checkpoint, self.objective.module, self.optimiser)
        if self.accelerator.is_main_process:
            print(f"continuing {self.folder.path} after step {step}")  # noqa: T201
        return step

    def _save(self, step: int) -> None:
        if self.accelerator.is_main_process:
            save_checkpoint(
                self.folder.checkpoints,
                step,
                self.objective.save,
                self.objective.module,
                self.optimiser.optimizer,
                self.plan.run.keep_checkpoints,
            )
        self.accelerator.wait_for_everyone()


def step_seed(seed: int, step: int, rank: int) -> int:
    """Return the seed of everything random inside the model (drop path, dropout, Gumbel noise) at a step."""
    return int(generator(seed, Purpose.MODEL, step, rank).integers(2**63))
