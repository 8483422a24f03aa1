"""JAX as the backend of the loop: parameters, moments and moving average, and the steps that change them.

Pictures, masks, visual tokens and targets come from the same code as in torch, and so do measurements and reports: for
them the model of torch gets the weights of now. Only the steps are JAX's.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import torch
from torch import Tensor, nn

from beit.data import Purpose, generator
from beit.engine.checkpoints import discard_old, latest_checkpoint, restore_module, save_checkpoint
from beit.engine.jax_model import fill, flax_model, leaf_names, leaves_of
from beit.engine.jax_steps import Scale, Steps, TrainingState, mesh_of
from beit.engine.optimiser import micro_batches
from beit.engine.run_folder import RunFolder
from beit.engine.task import Task
from beit.errors import CheckpointError, ConfigError
from beit.models_flax.tree import joined
from beit.weights import flax_tree

FOLDER_NAME = "jax"


class JaxBackend:
    """Parameters, moments and moving average of a run, from its newest checkpoint if there is one.

    Attributes:
        start: Finished steps.
        stream: Always 0; nothing random is left to torch.

    Raises:
        ConfigError: If the settings ask for what only torch has.
        CheckpointError: If the checkpoint belongs to another run.
    """

    stream = 0

    def __init__(self, task: Task[Any, Any], folder: RunFolder) -> None:
        _check(task)
        self._task, self._folder, self._schedule = task, folder, task.schedule
        accelerator, settings = task.accelerator, task.settings
        self._device = accelerator.device
        self._identity = task.continued_by()
        model = task.model
        flax = flax_model(model, accelerator.mixed_precision == "bf16", settings.train.recompute)
        self._steps = Steps(
            task.jax_loss(flax), _scales(task), settings.optim, settings.train.ema_decay,
            mesh_of(settings.run.device),
        )  # fmt: skip
        self._key = jax.random.key(int(generator(settings.run.seed, Purpose.MODEL).integers(2**31)))
        checkpoint = latest_checkpoint(folder.checkpoints)
        self.start = 0 if checkpoint is None else restore_module(checkpoint, task.module, self._identity)
        self._state = self._steps.begin(leaves_of(model))
        if checkpoint is not None:
            self._state = self._restored(checkpoint)
            discard_old(checkpoint, settings.run.keep_checkpoints)
            print(f"continuing {folder.path} after step {self.start}")  # noqa: T201
        self.gather()

    def train(self) -> None:
        """Do nothing: a step of JAX always trains."""

    def step(self, step: int, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Take one optimiser step with a prepared batch, and return its scalars."""
        schedule, steps, settings = self._schedule, self._steps, self._task.settings
        parts = micro_batches(tensors, settings.train.accumulate)
        weights = [float(self._task.count(part)) for part in parts]
        key = jax.random.fold_in(self._key, step)
        values: dict[str, Any] = {}
        gradients: Any = None
        for index, (part, weight) in enumerate(zip(parts, weights, strict=True)):
            own_key, share = jax.random.fold_in(key, index), jnp.float32(weight / sum(weights))
            scalars, grown = steps.gradients(self._state.params, steps.divided(part), own_key, share)
            gradients = grown if gradients is None else steps.add(gradients, grown)
            values = scalars if not values else {name: values[name] + value for name, value in scalars.items()}
        rate, decay = jnp.float32(schedule.rate(step)), jnp.float32(schedule.weight_decay(step))
        self._state, values["grad_norm"] = steps.update(self._state, gradients, rate, decay, jnp.bool_(step == 0))
        arrays = {name: np.array(value, dtype=np.float32) for name, value in values.items()}
        return {name: torch.from_numpy(array).to(self._device) for name, array in arrays.items()}

    @contextmanager
    def gathered(self) -> Generator[None]:
        """Inside, the task's own model has the weights of now."""
        self.gather()
        yield

    def gather(self) -> None:
        """Give the task's own model the weights of now."""
        fill(self._task.model, self._state.params)
        self._task.module.to(self._device)

    def save(self, step: int) -> None:
        """Write the checkpoint after `step` finished steps."""

        def write(folder: Path) -> None:
            self._task.save(folder)
            with ocp.StandardCheckpointer() as checkpointer:
                checkpointer.save((folder / FOLDER_NAME).absolute(), _stored(self._state))

        self.gather()
        keep, module = self._task.settings.run.keep_checkpoints, self._task.module
        save_checkpoint(self._folder.checkpoints, step, write, module, keep, self._identity)

    def check(self) -> None:
        """Do nothing: `save` has raised it."""

    def settle(self) -> None:
        """Do nothing: a step reuses the memory of the one before, so `save` ends when everything is written."""

    def averaged(self) -> nn.Module | None:
        """Return a copy of the model with the moving average of its weights; None if none is kept."""
        if self._state.average is None:
            return None
        model = deepcopy(self._task.model)
        fill(model, self._state.average)
        return model

    def _restored(self, checkpoint: Path) -> TrainingState:
        """Return the state that a checkpoint holds.

        Raises:
            CheckpointError: If it is missing, or that of another model.
        """
        folder = checkpoint / FOLDER_NAME
        if not folder.is_dir():
            raise CheckpointError(
                f"{checkpoint} has no {FOLDER_NAME}/; it was made by torch: set run.framework to torch, or start again "
                "in another run.output"
            )
        wanted = _stored(self._state)
        try:
            with ocp.StandardCheckpointer() as checkpointer:
                found: Any = checkpointer.restore(folder.absolute(), wanted)
        except (ValueError, KeyError, FileNotFoundError) as error:
            raise CheckpointError(f"{folder} does not fit this run: {str(error)[:300]}") from None
        moments, old = found["moments"], self._state.moments
        state = TrainingState(
            joined(found["params"]),
            old._replace(count=moments["count"], mu=joined(moments["first"]), nu=joined(moments["second"])),
            joined(found["average"]) if "average" in found else None,
        )
        return self._steps.replicated(state)


def _stored(state: TrainingState) -> dict[str, Any]:
    """Return a state as a checkpoint has it: trees of the published names."""
    moments: Any = state.moments
    stored = {
        "params": flax_tree(state.params),
        "moments": {"count": moments.count, "first": flax_tree(moments.mu), "second": flax_tree(moments.nu)},
    }
    return stored if state.average is None else {**stored, "average": flax_tree(state.average)}


def _scales(task: Task[Any, Any]) -> dict[str, Scale]:
    """Return the learning rate and decay scales of each parameter by its Flax name, from torch's parameter groups."""
    model = task.model
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    learns: dict[str, Scale] = {}
    for group in task.parameter_groups():
        members: Any = group["params"]
        rate: Any = group["lr_scale"]
        learns |= {names[id(member)]: Scale(rate, 1.0 if group["decays"] else 0.0) for member in members}
    frozen = Scale(0.0, 0.0)
    return {leaf: learns.get(name, frozen) for name, leaves in leaf_names(model).items() for leaf in leaves}


def _check(task: Task[Any, Any]) -> None:
    """Refuse settings that only torch supports.

    Raises:
        ConfigError: Naming the setting.
    """
    accelerator, settings = task.accelerator, task.settings
    if accelerator.num_processes > 1:
        raise ConfigError(
            f"run.framework is jax in one of {accelerator.num_processes} processes; start one, it uses all devices"
        )
    if settings.run.sharding != "ddp":
        raise ConfigError("run.sharding is fsdp, which run.framework jax does not support; set run.sharding to ddp")
    if accelerator.mixed_precision == "fp16":
        raise ConfigError("run.precision is fp16, which run.framework jax does not train in; set run.precision to bf16")
    if settings.train.compile is True:
        raise ConfigError("train.compile is set, and run.framework jax always compiles; leave it out")
    if any("parametrizations" in name for name, _ in task.model.named_parameters()):
        raise ConfigError("lora.rank is set, which run.framework jax does not support; set run.framework to torch")
