"""PyTorch as the backend of the loop: module, optimiser and moving average, whole or sharded over the processes.

The kernels that a run was begun with are kept in its checkpoints: others differ in the last bits of their results.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from copy import copy, deepcopy
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from accelerate.utils import gather_object
from torch import Tensor, nn

from beit.engine.background import BackgroundWriter, HostCopies
from beit.engine.checkpoints import discard_old, restore_module, save_checkpoint, shared_checkpoint
from beit.engine.compilation import compile_layers
from beit.engine.exactness import is_exact, placed
from beit.engine.loss_scale import FILE_NAME as SCALE_NAME
from beit.engine.loss_scale import LossScale
from beit.engine.moving_average import FILE_NAME as AVERAGE_NAME
from beit.engine.moving_average import MovingAverage
from beit.engine.optimiser import FILE_NAME as OPTIMISER_NAME
from beit.engine.optimiser import (
    add_gradients,
    build_optimiser,
    micro_batches,
    optimiser_tensors,
    restore_optimiser,
    set_learning_rate,
    set_weight_decay,
)
from beit.engine.run_folder import RunFolder
from beit.engine.sharding import divided, full_tensor, gathered, shared_stream, without_values
from beit.engine.task import Task
from beit.errors import CheckpointError, ConfigError
from beit.files import read_json, write_json
from beit.models_torch.device import wait_for
from beit.models_torch.kernels import FASTEST
from beit.models_torch.loading import write_safetensors

KERNELS_NAME = "kernels.json"


class _State(NamedTuple):
    """Copies of what a checkpoint stores, in the memory of the host."""

    weights: dict[str, Tensor]
    moments: dict[str, Tensor]
    average: dict[str, Tensor]
    choices: list[dict[str, str]]
    scale: dict[str, Any]


class TorchBackend:
    """Module, optimiser and moving average of a run, from its newest checkpoint if there is one.

    Attributes:
        start: Finished steps.
        module: Called in a step, on all processes.
        optimiser: The optimiser of the parameters that this process holds.
        average: The moving average, if one is kept.
        scale: The scale of the loss, under fp16 on a GPU.
        stream: Number of the random stream that the module draws from.
    """

    def __init__(self, task: Task[Any, Any], folder: RunFolder) -> None:
        self._task, self._folder, self._accelerator = task, folder, task.accelerator
        accelerator, settings, self._schedule = task.accelerator, task.settings, task.schedule
        self._main = accelerator.is_main_process
        self._identity = task.continued_by()
        self._divided = settings.run.sharding == "fsdp" and accelerator.num_processes > 1
        if settings.train.recompute:
            recompute_layers(task.model)
        checkpoint = shared_checkpoint(folder.checkpoints, accelerator)
        self.start = self._read(checkpoint) if checkpoint is not None else 0
        named_groups = self._named_groups()  # before anything moves
        self._writer, self._written = BackgroundWriter(), without_values(task.module) if self._main else None
        self._copies = HostCopies(), HostCopies(), HostCopies()  # weights, moments and average may share names
        self._own = self._placed()
        own = dict(self._own.named_parameters())
        groups = [{**group, "params": [own[name] for name in names]} for group, names in named_groups]
        self.optimiser: Any = build_optimiser(groups, settings.optim, settings.run.precision)
        model, decay = self._own.get_submodule("model"), settings.train.ema_decay
        self.average = MovingAverage(model, decay) if decay is not None else None
        self.scale = LossScale(accelerator.scaler) if accelerator.scaler is not None else None
        if checkpoint is not None:
            if self.scale is not None:
                self.scale.load(checkpoint)
            restore_optimiser(checkpoint, self._own, self.optimiser)
            restore_choices(checkpoint, accelerator.process_index)
            if self.average is not None:
                self.average.load(checkpoint)
        if settings.train.compile is True:
            compile_layers(self._own)
        # accelerate adds autocast, and DistributedDataParallel where the parameters are not divided
        self.module: Any = accelerator.prepare_model(self._own, evaluation_mode=self._divided)
        rank, world = accelerator.process_index, accelerator.num_processes
        self.stream = shared_stream(self.module, rank, world, task.together)

    def train(self) -> None:
        """Switch to training, after a measurement made something else of the module."""
        self.module.train()

    def step(self, step: int, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Take one optimiser step with a prepared batch, and return its scalars."""
        schedule, settings = self._schedule, self._task.settings
        set_learning_rate(self.optimiser, schedule.rate(step))
        if settings.optim.weight_decay_end is not None:
            set_weight_decay(self.optimiser, schedule.weight_decay(step))
        parts = micro_batches(tensors, settings.train.accumulate)
        weights = [self._task.count(part) for part in parts]
        values = add_gradients(self._accelerator, self.module, step / schedule.steps, parts, weights)
        limit = math.inf if settings.optim.clip_grad is None else settings.optim.clip_grad
        if self.scale is not None:
            self.scale.unscale(self.optimiser)
        norm = torch.as_tensor(self._accelerator.clip_grad_norm_(self._own.parameters(), limit))
        values["grad_norm"] = full_tensor(norm) if self._divided else norm
        if self.scale is not None:
            values |= self.scale.step(self.optimiser, values["grad_norm"])
        else:
            self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        if self.average is not None:
            self.average.update()
        return values

    @contextmanager
    def gathered(self) -> Generator[None]:
        """Inside, the task's own model has the weights of now, on the device of the first process."""
        self.gather()
        yield
        if self._divided and self._main:
            self._task.module.to("cpu")

    def gather(self) -> None:
        """Give the task's own model the weights of now, on the device of the first process; all have to call."""
        if not self._divided:
            return
        tensors = gathered(self._own.state_dict(), keeps=self._main)
        if self._main:
            self._task.module.load_state_dict(tensors)
            self._task.module.to(self._accelerator.device)

    def save(self, step: int) -> None:
        """Copy everything after `step` finished steps, and begin to write it as a checkpoint; one process does for all.

        Raises:
            StorageError: If the one before could not be written.
        """
        self._writer.wait()  # its copies are about to be overwritten
        weights, moments, average = self._copies
        state = _State(
            gathered(self._own.state_dict(), self._main, weights),
            optimiser_tensors(self._own, self.optimiser, self._main, moments),
            self.average.state(self._main, average) if self.average is not None else {},
            kernel_choices(),
            self.scale.state() if self.scale is not None else {},
        )
        if self._written is not None:
            wait_for(self._accelerator.device)
            self._writer.start(partial(self._write, self._written, step, state))

    def check(self) -> None:
        """Raise what the newest checkpoint failed with, if it is known already.

        Raises:
            StorageError: If the disk is full.
        """
        self._writer.check()

    def settle(self) -> None:
        """Wait until the newest checkpoint is on the disk."""
        self._writer.wait()

    @torch.no_grad()
    def _write(self, module: nn.Module, step: int, state: _State) -> None:
        """Write a checkpoint; only what is given here is read, since the next steps change everything else."""
        module.load_state_dict(state.weights, assign=True)
        task = copy(self._task)
        task.module = module

        def write(folder: Path) -> None:
            task.save(folder)
            write_safetensors(folder / OPTIMISER_NAME, state.moments)
            save_choices(folder, state.choices)
            if state.average:
                write_safetensors(folder / AVERAGE_NAME, state.average)
            if state.scale:
                write_json(folder / SCALE_NAME, state.scale, indent=1)

        keep = self._task.settings.run.keep_checkpoints
        save_checkpoint(self._folder.checkpoints, step, write, module, keep, self._identity)

    def averaged(self) -> nn.Module | None:
        """Return a copy of the model with the moving average of its weights; None if none is kept, or not here."""
        if self.average is None:
            return None
        tensors = self.average.gathered(keeps=self._main)
        if not self._main:
            return None
        model = deepcopy(self._task.model)
        model.load_state_dict(tensors)
        return model.to(self._accelerator.device)

    def _read(self, checkpoint: Path) -> int:
        self._task.load(checkpoint)
        step = restore_module(checkpoint, self._task.module, self._identity)
        if self._main:
            discard_old(checkpoint, self._task.settings.run.keep_checkpoints)
            print(f"continuing {self._folder.path} after step {step}")  # noqa: T201
        return step

    def _placed(self) -> nn.Module:
        """Return the module that this process trains, under the names of the task: its own, or a sharded copy."""
        module = self._task.module
        if not self._divided:
            device = self._accelerator.device
            return placed(module, is_exact(self._task.settings.run, device), device)
        own = divided(module, self._accelerator)
        module.to("cpu" if self._main else "meta")  # the unsharded weights are kept once
        return own

    def _named_groups(self) -> list[tuple[dict[str, object], list[str]]]:
        """Return the task's parameter groups, each with the names of its parameters."""
        names = {id(parameter): name for name, parameter in self._task.module.named_parameters()}
        found: list[tuple[dict[str, object], list[str]]] = []
        for group in self._task.parameter_groups():
            parameters: Any = group["params"]
            found.append((group, [names[id(parameter)] for parameter in parameters]))
        return found


def recompute_layers(model: nn.Module) -> None:
    """Turn on gradient checkpointing: the inside of layers is computed again in the backward pass.

    Raises:
        ConfigError: If it cannot.
    """
    enable: Any = getattr(model, "gradient_checkpointing_enable", None)
    if enable is None:
        raise ConfigError("train.recompute is true, but a tokenizer has no layers to compute again; leave it out")
    enable()


def kernel_choices() -> list[dict[str, str]]:
    """Return the choices of every process so far; all have to call."""
    return gather_object([FASTEST.choices()])


def save_choices(folder: Path, choices: list[dict[str, str]]) -> None:
    """Write the choices of all processes into a checkpoint."""
    write_json(folder / KERNELS_NAME, {"processes": choices}, indent=1)


def restore_choices(folder: Path, process: int) -> None:
    """Obey what this process, or the first one if there were fewer, had chosen at a checkpoint.

    Raises:
        CheckpointError: If the file is missing or damaged.
    """
    path, remedy = folder / KERNELS_NAME, f"remove the folder {folder}"
    found = read_json(path, "the kernels of a run", remedy, CheckpointError).get("processes")
    try:
        before: list[dict[str, str]] = [dict(choices) for choices in found]  # pyright: ignore
        FASTEST.obey(before[process if process < len(before) else 0])
    except (TypeError, ValueError, IndexError) as error:
        raise CheckpointError(f"{path} is damaged ({error!r}); {remedy}") from None
