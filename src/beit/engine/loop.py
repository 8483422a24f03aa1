"""The one training loop. Jobs differ in their objective, their data, and what they make of the trained model."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast, gather_object
from torch import Tensor

from beit.data import BatchOrder, BrokenPicture, training_batches
from beit.data.broken import BrokenPictures, require_usable
from beit.engine.backend import make_trainee
from beit.engine.device import reproducible
from beit.engine.divergence import Divergence, stop_diverged
from beit.engine.metrics import MetricsLog, read_metrics
from beit.engine.plan import Objective, Plan
from beit.engine.preemption import StopRequest, stop_on_request
from beit.engine.progress import RunProgress
from beit.engine.run_folder import RunFolder
from beit.engine.shared_randomness import step_seed
from beit.engine.throughput import Throughput
from beit.errors import RunPaused
from beit.files import atomic_folder
from beit.reports.gallery import Gallery


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


class _Due(NamedTuple):
    """What is done after a step."""

    logs: bool
    measures: bool
    saves: bool
    pauses: bool
    last: bool

    @property
    def meets(self) -> bool:
        """Whether all processes put together what they know: for a log, and before anything is kept of the model."""
        return self.logs or self.measures or self.saves or self.pauses


class _Loop:
    """The state of a running loop."""

    def __init__(self, plan: Plan, objective: Objective, folder: RunFolder, accelerator: Accelerator) -> None:
        self.plan, self.objective, self.folder, self.accelerator = plan, objective, folder, accelerator
        self.trainee = make_trainee(plan, objective, folder, accelerator)
        self.start = self.trainee.start
        listing = folder.broken if accelerator.is_main_process else None
        self.broken = BrokenPictures(listing, len(plan.dataset), plan.data.max_broken)
        self.new_broken: list[BrokenPicture] = []
        self.divergence = Divergence(accelerator.device)
        if plan.early_stop is not None:
            known = read_metrics(folder.metrics)
            plan.early_stop.recall([line for line in known if line["step"] <= self.start])
        if self.start == 0 and accelerator.is_main_process:
            shutil.rmtree(folder.best, ignore_errors=True)  # of an attempt that came to no checkpoint
        accelerator.wait_for_everyone()

    def run(self) -> int:
        """Train to the end, leave a checkpoint there, and return the finished steps."""
        finished = self.start
        if finished < self.plan.steps and not self._stopped:
            finished = self._train()
        self.trainee.save_average()
        self.trainee.gather()
        stop = self.plan.early_stop
        if stop is not None and stop.keeps_best and self.accelerator.is_main_process:
            self.objective.load(self.folder.best)
            print(f"keeping the model of step {stop.best_step}, the best on held-out pictures")  # noqa: T201
        return finished

    @property
    def _stopped(self) -> bool:
        return self.plan.early_stop is not None and self.plan.early_stop.reached

    def _train(self) -> int:
        plan, main, finished = self.plan, self.accelerator.is_main_process, self.start
        if main and plan.gallery is not None:
            plan.gallery.begin(self.start)
        if main:
            print(self._what_is_trained())  # noqa: T201  # before the first step, which may take long
        self.trainee.train()
        with (
            stop_on_request(self.accelerator) as stop,
            MetricsLog(self.folder, self.start, active=main) as metrics,
            RunProgress(plan.title, self.start, plan.steps, visible=main) as progress,
        ):
            throughput = Throughput(self.accelerator, plan.train.batch_size, plan.flops)
            for step, batch in enumerate(throughput.batches(self._batches()), start=self.start):
                self.new_broken += batch.broken
                require_usable(len(batch.indices), len(batch.broken), batch.broken)
                values = self._step(step, batch.to(self.accelerator.device).tensors)
                finished = step + 1
                due = self._due(finished, stop)
                if self.new_broken or due.meets:
                    self._note_broken(together=due.meets)
                numbers = self._numbers(step, values) if due.meets else None  # none of a model that has diverged
                progress.advance(finished, plan.train.batch_size, None if numbers is None else numbers["loss"])
                if due.logs and numbers is not None:
                    metrics.write(finished, "train", {**numbers, **throughput.numbers()})
                self._look(finished, due, metrics)
                if due.saves or due.pauses or self._stopped:
                    self.trainee.save(finished)
                if self._stopped:
                    break
                if due.pauses:
                    raise self._pause(finished, stop)
        if main and (summary := self.broken.summary()):
            print(summary)  # noqa: T201  # a person has to know
        return finished

    def _due(self, finished: int, stop: StopRequest) -> _Due:
        """Return what a number of finished steps calls for."""
        plan = self.plan
        last = finished == plan.steps
        return _Due(
            logs=finished % plan.run.log_every == 0 or last,
            measures=plan.early_stop is not None and plan.early_stop.due(finished, last),
            saves=finished % plan.run.save_every == 0 or last,
            pauses=stop.agreed(finished) and not last,
            last=last,
        )

    def _look(self, finished: int, due: _Due, metrics: MetricsLog) -> None:
        """Measure on held-out pictures and show some of them, where that is due."""
        if due.measures:
            self._measure(finished, metrics)
        gallery = self.plan.gallery
        if gallery is not None and gallery.due(finished, due.last or self._stopped):
            self._show(gallery, finished, metrics)

    def _pause(self, finished: int, stop: StopRequest) -> RunPaused:
        return RunPaused(
            f"asked to stop: saved {self.folder.path} after step {finished} of {self.plan.steps}; the same command "
            "continues it",
            interrupted=stop.interrupted,
        )

    def _what_is_trained(self) -> str:
        plan, model = self.plan, self.objective.model
        parameters = sum(parameter.numel() for parameter in model.parameters())
        return (
            f"{plan.title}: {parameters:,} parameters, {len(plan.dataset):,} pictures, "
            f"{plan.steps - self.start:,} steps of {plan.train.batch_size}"
        )

    def _measure(self, step: int, metrics: MetricsLog) -> None:
        """Measure on held-out pictures, on one process for all; keep the model if it is the best so far."""
        stop, main = self.plan.early_stop, self.accelerator.is_main_process
        assert stop is not None  # noqa: S101  # for the type checker
        with self.trainee.gathered():
            measured = torch.full((), stop.measure() if main else 0.0, device=self.accelerator.device)
        self.trainee.train()  # whatever the measurement made of it
        shared: Any = broadcast(measured)
        value = float(shared)
        gain = stop.note(step, value)
        metrics.write(step, "val", {stop.name: value})
        if main and gain:
            with atomic_folder(self.folder.best) as temporary:
                self.objective.save(temporary)
        if main and stop.reached:
            times = f"{stop.settings.patience} measurement{'s' * (stop.settings.patience != 1)}"
            print(f"stopped after step {step}: {times} without a gain")  # noqa: T201
        self.accelerator.wait_for_everyone()

    def _show(self, gallery: Gallery, step: int, metrics: MetricsLog) -> None:
        """Add a row to the gallery, on one process for all."""
        with self.trainee.gathered():
            if self.accelerator.is_main_process:
                metrics.write_picture(step, "reconstructions", gallery.add(step))
        self.trainee.train()
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
            plan.data.shuffle_window,
            plan.dataset.shard_sizes,
            plan.together,
        )
        pin = accelerator.device.type == "cuda"
        return training_batches(plan.dataset, order, plan.collate, plan.data.workers, pin)

    def _step(self, step: int, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Take one optimiser step and return its scalars."""
        torch.manual_seed(step_seed(self.plan.run.seed, step, self.trainee.stream))
        values = self.trainee.step(step, self.objective.prepare(tensors, step))
        self.divergence.note(step, values["grad_norm"], values["loss"])
        return values

    def _numbers(self, step: int, values: Mapping[str, Tensor]) -> dict[str, float]:
        """Return the scalars of a step as numbers, averaged over the processes."""
        plan = self.plan
        numbers = {name: self._mean(value) for name, value in values.items()}
        if (diverged := self.divergence.step) is not None:
            writes, checkpoints = self.accelerator.is_main_process, self.folder.checkpoints
            stop_diverged(diverged, self._pictures(diverged), self.folder.path, checkpoints, writes)
        numbers["lr"] = plan.rate(step)
        if plan.optim.weight_decay_end is not None:
            numbers["weight_decay"] = plan.weight_decay(step)
        numbers["epoch"] = (step + 1) * plan.train.batch_size / len(plan.dataset)
        return numbers

    def _pictures(self, step: int) -> list[dict[str, Any]]:
        """Return epoch, index and name of the pictures of a step, over all processes."""
        plan = self.plan
        window, shards = plan.data.shuffle_window, plan.dataset.shard_sizes
        size, batch_size, seed = len(plan.dataset), plan.train.batch_size, plan.run.seed
        order = BatchOrder(size, batch_size, plan.steps, seed, window=window, shard_sizes=shards)
        name = plan.dataset.name
        return [{"epoch": epoch, "index": index, "name": name(index)} for epoch, index in order.batch(step)]

    def _mean(self, value: Tensor) -> float:
        value = value.detach().float()
        reduced: Any = self.accelerator.reduce(value, "mean") if self.accelerator.num_processes > 1 else value
        return float(reduced)
