"""The one training loop. Jobs differ in their objective, their data, and what they make of the trained model."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast, gather_object
from torch import Tensor, nn

from beit.data import (
    BatchOrder,
    BrokenPicture,
    Collate,
    Purpose,
    ViewDataset,
    check_shared_batch,
    generator,
    training_batches,
)
from beit.errors import BeitError, ConfigError
from beit.training.broken import BrokenPictures, require_usable
from beit.training.checkpoint import latest_checkpoint, restore_checkpoint, save_checkpoint
from beit.training.device import reproducible
from beit.training.early_stop import EarlyStop
from beit.training.metrics import MetricsLog, read_metrics
from beit.training.optimiser import build_optimiser, set_learning_rate
from beit.training.progress import RunProgress
from beit.training.run_folder import RunFolder
from beit.training.schedule import learning_rate
from beit.training.settings import DataSettings, OptimSettings, RunSettings, TrainSettings
from beit.weights import atomic_folder


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


def check_length(train: TrainSettings, optim: OptimSettings, pictures: int, world: int = 1, prefix: str = "") -> None:
    """Refuse a warm-up that is not shorter than the run, and a batch that the processes cannot share.

    Raises:
        ConfigError: Naming the values; `prefix` stands before the names of the settings.
    """
    check_shared_batch(train.batch_size, world)
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

    @property
    def steps(self) -> int:
        """Optimiser steps of the whole run."""
        return total_steps(self.train, len(self.dataset))

    @property
    def warmup(self) -> int:
        """Steps of the warm-up."""
        return warmup_steps(self.optim, self.train, len(self.dataset))


def train(plan: Plan, objective: Objective, folder: RunFolder, accelerator: Accelerator) -> int:
    """Train from the newest checkpoint of the folder (or from the start) to the end of the plan, or an early stop.

    Returns:
        The finished steps. The objective holds the last model, or with an early stop the one that measured best.

    Raises:
        ConfigError: If the settings do not fit together.
        DataError: If too many pictures are broken.
        StorageError: If the disk is full.
        BeitError: If the loss is no longer finite.
    """
    with reproducible():
        return _Loop(plan, objective, folder, accelerator).run()


class _Loop:
    """The state of a running loop."""

    def __init__(self, plan: Plan, objective: Objective, folder: RunFolder, accelerator: Accelerator) -> None:
        self.plan, self.objective, self.folder, self.accelerator = plan, objective, folder, accelerator
        self.optimiser: Any = build_optimiser(objective.groups, plan.optim)
        self.start = self._restore()
        self.module, self.optimiser = accelerator.prepare(objective.module, self.optimiser)
        listing = folder.broken if accelerator.is_main_process else None
        self.broken = BrokenPictures(listing, len(plan.dataset), plan.data.max_broken)
        self.new_broken: list[BrokenPicture] = []
        if plan.early_stop is not None:
            known = read_metrics(folder.metrics)
            plan.early_stop.recall([line for line in known if line["step"] <= self.start])

    def run(self) -> int:
        """Train to the end, leave a checkpoint there, and return the finished steps."""
        finished = self.start
        if finished < self.plan.steps and not self._stopped:
            finished = self._train()
        if self._best.exists():
            self.objective.load(self._best)
        return finished

    @property
    def _best(self) -> Path:
        return self.folder.path / "best"

    @property
    def _stopped(self) -> bool:
        return self.plan.early_stop is not None and self.plan.early_stop.reached

    def _train(self) -> int:
        plan, main, finished = self.plan, self.accelerator.is_main_process, self.start
        self.module.train()
        with (
            MetricsLog(self.folder, self.start, active=main) as metrics,
            RunProgress(plan.title, self.start, plan.steps, visible=main) as progress,
        ):
            for step, batch in enumerate(self._batches(), start=self.start):
                self.new_broken += batch.broken
                require_usable(len(batch.indices), len(batch.broken), batch.broken)
                values = self._step(step, batch.to(self.accelerator.device).tensors)
                finished = step + 1
                measures = plan.early_stop is not None and plan.early_stop.due(finished)
                last = finished == plan.steps
                logs = finished % plan.run.log_every == 0 or last
                saves = finished % plan.run.save_every == 0 or last
                meets = logs or saves or measures
                if self.new_broken or meets:
                    self._note_broken(together=meets)
                loss = None
                if meets:  # a checkpoint must not hold a model that has diverged
                    numbers = self._numbers(step, values, progress)
                    loss = numbers["loss"]
                    if logs:
                        metrics.write(finished, "train", numbers)
                progress.advance(finished, plan.train.batch_size, loss)
                if measures:
                    self._measure(finished, metrics)
                if saves or self._stopped:
                    self._save(finished)
                if self._stopped:
                    break
        if main and (summary := self.broken.summary()):
            print(summary)  # noqa: T201  # a person has to know
        return finished

    def _measure(self, step: int, metrics: MetricsLog) -> None:
        """Measure on held-out pictures, on one process for all; keep the model if it is the best so far."""
        stop, main = self.plan.early_stop, self.accelerator.is_main_process
        assert stop is not None  # noqa: S101  # for the type checker
        measured = torch.full((), stop.measure() if main else 0.0, device=self.accelerator.device)
        shared: Any = broadcast(measured)
        value = float(shared)
        gain = stop.note(value)
        metrics.write(step, "val", {stop.name: value})
        if main and gain:
            with atomic_folder(self._best) as temporary:
                self.objective.save(temporary)
        if main and stop.reached:
            print(f"stopped after step {step}: {stop.settings.patience} measurements without a gain")  # noqa: T201
        self.accelerator.wait_for_everyone()

    def _note_broken(self, together: bool) -> None:
        """Count new broken pictures: one process at once, several when they meet, so that all stop together."""
        if self.accelerator.num_processes == 1:
            self.broken.add(self.new_broken)
        elif together:
            self.broken.add(gather_object(self.new_broken))
        else:
            return
        self.new_broken = []

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
        if not math.isfinite(numbers["loss"]) or not math.isfinite(numbers["grad_norm"]):
            raise BeitError(
                f"at step {step + 1} the loss is {numbers['loss']} and the norm of its gradient {numbers['grad_norm']}"
                "; lower optim.lr, lengthen the warm-up or set optim.clip_grad. Earlier checkpoints are sound and "
                f"in {self.folder.checkpoints}"
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
        pictures = len(self.plan.dataset)
        step = restore_checkpoint(checkpoint, self.objective.module, self.optimiser, {"pictures": pictures})
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
                {"pictures": len(self.plan.dataset)},
            )
        self.accelerator.wait_for_everyone()


def step_seed(seed: int, step: int, rank: int) -> int:
    """Return the seed of everything random inside the model (drop path, dropout, Gumbel noise) at a step."""
    return int(generator(seed, Purpose.MODEL, step, rank).integers(2**63))
