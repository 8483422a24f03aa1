"""What a run trains, with everything that a checkpoint holds: alike on all processes, or divided over them."""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from beit.engine.checkpoints import discard_old, latest_checkpoint, restore_objective, save_checkpoint
from beit.engine.micro_batches import add_gradients, micro_batches
from beit.engine.moving_average import MovingAverage
from beit.engine.optimiser import build_optimiser, set_learning_rate, set_weight_decay
from beit.engine.optimiser_state import FILE_NAME as OPTIMISER_NAME
from beit.engine.optimiser_state import optimiser_tensors, restore_optimiser
from beit.engine.plan import Objective, Plan, recompute
from beit.engine.run_folder import RunFolder
from beit.engine.sharding import divided, gathered, whole
from beit.engine.shared_randomness import shared_stream
from beit.files import atomic_folder
from beit.models_torch.loading import write_safetensors


class Trainee:
    """Objective, optimiser and moving average of a run, from its newest checkpoint if there is one.

    Attributes:
        start: Finished steps.
        module: Called in a step, on all processes.
        optimiser: AdamW over the parameters that this process holds.
        average: The moving average, if one is kept.
        stream: What is random inside the module is drawn from.
    """

    def __init__(self, plan: Plan, objective: Objective, folder: RunFolder, accelerator: Accelerator) -> None:
        self._plan, self._objective, self._folder, self._accelerator = plan, objective, folder, accelerator
        self._main = accelerator.is_main_process
        self._facts = {"pictures": len(plan.dataset), **plan.facts}
        self._divided = plan.run.sharding == "fsdp" and accelerator.num_processes > 1
        if plan.train.recompute:
            recompute(objective.model)
        checkpoint = latest_checkpoint(folder.checkpoints)
        self.start = self._read(checkpoint) if checkpoint is not None else 0
        named_groups = self._named_groups()  # before anything moves
        self._own = self._placed()
        own = dict(self._own.named_parameters())
        groups = [{**group, "params": [own[name] for name in names]} for group, names in named_groups]
        self.optimiser: Any = build_optimiser(groups, plan.optim)
        model, decay = self._own.get_submodule("model"), plan.train.ema_decay
        self.average = MovingAverage(model, decay) if decay is not None else None
        if checkpoint is not None:
            restore_optimiser(checkpoint, self._own, self.optimiser)
            if self.average is not None:
                self.average.load(checkpoint)
        module: Any = torch.compile(self._own, fullgraph=True) if plan.train.compile else self._own
        # accelerate adds autocast, and DistributedDataParallel where the parameters are not divided
        self.module: Any = accelerator.prepare_model(module, evaluation_mode=self._divided)
        rank, world = accelerator.process_index, accelerator.num_processes
        self.stream = shared_stream(self.module, rank, world, plan.together)

    def train(self) -> None:
        """Switch to training, after a measurement made something else of the module."""
        self.module.train()

    def step(self, step: int, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Take one optimiser step with a prepared batch, and return its scalars."""
        plan = self._plan
        set_learning_rate(self.optimiser, plan.rate(step))
        if plan.optim.weight_decay_end is not None:
            set_weight_decay(self.optimiser, plan.weight_decay(step))
        parts = micro_batches(tensors, plan.train.accumulate)
        weights = [self._objective.weight(part) for part in parts]
        values = add_gradients(self._accelerator, self.module, step / plan.steps, parts, weights)
        limit = math.inf if plan.optim.clip_grad is None else plan.optim.clip_grad
        norm = whole(torch.as_tensor(self._accelerator.clip_grad_norm_(self._own.parameters(), limit)))
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        if self.average is not None:
            self.average.update()
        return {**values, "grad_norm": norm}

    @contextmanager
    def gathered(self) -> Generator[None]:
        """Inside, the objective's own model has the weights of now, on the device of the first process."""
        self.gather()
        yield
        if self._divided and self._main:
            self._objective.module.to("cpu")

    def gather(self, place: bool = True) -> None:
        """Give the objective's own model the weights of now; all have to call.

        Args:
            place: Whether to put it on the device of the first process; to be saved it may stay in the host's memory.
        """
        if not self._divided:
            return
        tensors = gathered(self._own.state_dict(), keeps=self._main)
        if self._main:
            self._objective.module.load_state_dict(tensors)
            if place:
                self._objective.module.to(self._accelerator.device)

    def save(self, step: int) -> None:
        """Write the checkpoint after `step` finished steps; one process writes for all."""
        moments = optimiser_tensors(self._own, self.optimiser, keeps=self._main)
        average = self.average.gathered(keeps=self._main) if self.average is not None else {}

        def write(folder: Path) -> None:
            self._objective.save(folder)
            write_safetensors(folder / OPTIMISER_NAME, moments)
            if self.average is not None:
                self.average.save(folder, average)

        self.gather(place=False)
        if self._main:
            keep, module = self._plan.run.keep_checkpoints, self._objective.module
            save_checkpoint(self._folder.checkpoints, step, write, module, keep, self._facts)
        self._accelerator.wait_for_everyone()

    def save_average(self) -> None:
        """Write the averaged model, if there is one, into the run folder."""
        if self.average is None:
            return
        tensors = self.average.gathered(keeps=self._main)
        if self._main:
            model = deepcopy(self._objective.model)
            model.load_state_dict(tensors)
            with atomic_folder(self._folder.average) as temporary:
                self._objective.save(temporary, model)

    def _read(self, checkpoint: Path) -> int:
        self._objective.load(checkpoint)
        step = restore_objective(checkpoint, self._objective.module, self._facts)
        if self._main:
            discard_old(checkpoint, self._plan.run.keep_checkpoints)
            print(f"continuing {self._folder.path} after step {step}")  # noqa: T201
        return step

    def _placed(self) -> nn.Module:
        """Return what this process trains, under the names of the objective: its module, or a part of a copy."""
        module = self._objective.module
        if not self._divided:
            return module.to(self._accelerator.device)
        own = divided(module, self._accelerator)
        module.to("cpu" if self._main else "meta")  # the whole weights are kept once
        return own

    def _named_groups(self) -> list[tuple[dict[str, object], list[str]]]:
        """Return the objective's parameter groups, each with the names of its parameters."""
        names = {id(parameter): name for name, parameter in self._objective.module.named_parameters()}
        found: list[tuple[dict[str, object], list[str]]] = []
        for group in self._objective.groups:
            parameters: Any = group["params"]
            found.append((group, [names[id(parameter)] for parameter in parameters]))
        return found
