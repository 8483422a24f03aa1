"""Training loop, the same for every task."""

from __future__ import annotations

import logging
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from accelerate.utils import gather_object
from torch import Tensor, nn

from beit.data import BatchOrder, BrokenPicture, BrokenPictures, require_whole, training_batches
from beit.engine.backend import Backend
from beit.engine.exactness import computing, is_exact
from beit.engine.hooks import Hook
from beit.engine.interruption import Divergence, LossWatch, StopRequest, stop_diverged, stop_itself, stop_on_request
from beit.engine.metrics import MetricsLog, RunProgress
from beit.engine.processes import precision_of
from beit.engine.run_folder import RunFolder
from beit.engine.sharding import step_seed
from beit.engine.task import Task
from beit.engine.throughput import Throughput, WaitWatch
from beit.engine.torch_backend import TorchBackend
from beit.engine.trackers import Trackers
from beit.errors import RunPaused
from beit.tokenizer.encoding import perplexity


class Trained(NamedTuple):
    """Result of a training: finished steps, and the moving average of the model where one was kept."""

    steps: int
    average: nn.Module | None


def train(task: Task[Any, Any], folder: RunFolder, hooks: Sequence[Hook], trackers: Trackers | None = None) -> Trained:
    """Train from the newest checkpoint of the folder (or from the start) to the end, or until a hook stops.

    The task's model then has the last weights, or those that a hook brings back.

    Raises:
        ConfigError: If the settings do not fit together.
        DataError: If too many pictures are broken.
        StorageError: If the disk is full.
        BeitError: If the loss is no longer finite, or stays far above what guessing gives.
    """
    device = task.accelerator.device
    with computing(is_exact(task.settings.run, device), device):
        return _Loop(task, folder, hooks, trackers).run()


def batch_order(task: Task[Any, Any], steps: int, start: int, place: int, world: int) -> BatchOrder:
    """Return the batches of a process: positions of pictures as a function of seed and step."""
    dataset, settings = task.dataset, task.settings
    return BatchOrder(
        len(dataset), settings.train.batch_size, steps, settings.run.seed, start, place, world,
        settings.data.shuffle_window, dataset.shard_sizes, task.together,
    )  # fmt: skip


def make_backend(task: Task[Any, Any], folder: RunFolder) -> Backend:
    """Return the backend that trains a task, at the newest checkpoint if there is one.

    Raises:
        ConfigError: If JAX is asked for and missing, or what it cannot do.
        CheckpointError: If the checkpoint belongs to another run.
    """
    if task.settings.run.framework == "torch":
        return TorchBackend(task, folder)
    from beit.engine.jax_backend import JaxBackend  # JAX is an extra

    return JaxBackend(task, folder)


class _Loop:
    """The state of a running loop."""

    def __init__(
        self, task: Task[Any, Any], folder: RunFolder, hooks: Sequence[Hook], trackers: Trackers | None
    ) -> None:
        self.task, self.folder, self.hooks, self.trackers = task, folder, hooks, trackers
        self.settings, self.schedule, self.accelerator = task.settings, task.schedule, task.accelerator
        self.main = self.accelerator.is_main_process
        self.backend = make_backend(task, folder)
        self.start = self.backend.start
        listing = folder.broken if self.main else None
        self.broken = BrokenPictures(listing, len(task.dataset), self.settings.data.max_broken)
        self.new_broken: list[BrokenPicture] = []
        self.waits = WaitWatch()
        self.divergence = Divergence(self.accelerator.device)
        self.loss_watch = LossWatch(task.guessing)

    def run(self) -> Trained:
        """Train to the end, and leave a checkpoint there."""
        finished = self.start
        if self.main and finished < self.schedule.steps:
            print(self._title())  # noqa: T201  # before the first step, which may take long
        for hook in self.hooks:
            hook.begin(self.start)
        self.accelerator.wait_for_everyone()
        if finished < self.schedule.steps and not self._stopped:
            finished = self._train()
            self.accelerator.wait_for_everyone()  # the last checkpoint is whole
        average = self.backend.averaged()
        self.backend.gather()
        for hook in self.hooks:
            hook.end()
        return Trained(finished, average)

    @property
    def _stopped(self) -> bool:
        return any(hook.stops for hook in self.hooks)

    def _train(self) -> int:
        """Take the steps that are left, and return the number of finished ones."""
        with (
            self._settled(),
            stop_on_request(self.accelerator) as stop,
            MetricsLog(
                self.folder,
                self.start,
                active=self.main,
                events="tensorboard" in self.settings.run.trackers,
                trackers=self.trackers,
            ) as metrics,
        ):
            self._look_first(metrics)
            with RunProgress(self.task.title, self.start, self.schedule.steps, visible=self.main) as progress:
                finished = self._steps(stop, metrics, progress)
        if self.main and (summary := self.broken.summary()):
            print(summary)  # noqa: T201  # a person has to know
        return finished

    def _steps(self, stop: StopRequest, metrics: MetricsLog, progress: RunProgress) -> int:
        settings, steps, finished = self.settings, self.schedule.steps, self.start
        flops = self.task.flops()
        if flops is not None:
            flops += self.task.preparing_flops()
        throughput = Throughput(self.accelerator, settings.train.batch_size, flops)
        for step, batch in enumerate(throughput.batches(self._batches()), start=self.start):
            self.new_broken += batch.broken
            require_whole(batch)
            values = self._step(step, self.task.on_device(batch))
            finished, last = step + 1, step + 1 == steps
            for hook in self.hooks:
                hook.after_step(finished)
            logs = finished % settings.run.log_every == 0 or last
            saves = finished % settings.run.save_every == 0 or last
            pauses = stop.agreed(finished) and not last
            # all processes put together what they know: for a log, and before anything is kept of the model
            meets = logs or saves or pauses or any(hook.due(finished, last) for hook in self.hooks)
            meets |= step == self.start  # what a diverging loss is compared with
            if self.new_broken or meets:
                self._note_broken(together=meets)
            numbers = self._numbers(step, values) if meets else None  # none of a model that has diverged
            headline = "  ".join(filter(None, (hook.headline for hook in self.hooks)))
            loss = None if numbers is None else numbers["loss"]
            progress.advance(finished, settings.train.batch_size, loss, headline)
            if logs and numbers is not None:
                metrics.write(finished, "train", {**numbers, **self._speed(throughput)})
            self._look(finished, last, metrics)
            self.backend.check()
            if saves or pauses or self._stopped:
                self.folder.check_present()
                self.backend.save(finished)
            if self._stopped:
                break
            if pauses:
                self.backend.settle()
                self.accelerator.wait_for_everyone()
                raise self._pause(finished, stop)
        return finished

    def _speed(self, throughput: Throughput) -> dict[str, float]:
        """Return the speed since the last line, and say so where steps wait for pictures."""
        numbers = throughput.numbers()
        advice = self.waits.advice(numbers["data_wait"], throughput.waited, self.task.workers)
        if advice is not None and self.main:
            logging.getLogger(__name__).warning(advice)
        return numbers

    @contextmanager
    def _settled(self) -> Generator[None]:
        """Whatever ends the training inside, let a checkpoint that is being written become whole."""
        try:
            yield
        finally:
            self.backend.settle()

    def _look_first(self, metrics: MetricsLog) -> None:
        """Let the hooks look at the model before the first step of a run, and switch to training."""
        if self.start == 0:
            with self.backend.gathered():
                for hook in self.hooks:
                    hook.look_first(metrics)
            self.accelerator.wait_for_everyone()
        self.backend.train()

    def _look(self, finished: int, last: bool, metrics: MetricsLog) -> None:
        """Let the hooks that are due look at the model."""
        for hook in self.hooks:
            if hook.due(finished, last or self._stopped):
                self.backend.settle()  # measurements fork, and other threads should hold no lock meanwhile
                with self.backend.gathered():
                    hook.look(finished, metrics)
                self.backend.train()  # whatever the hook made of the model
                self.accelerator.wait_for_everyone()

    def _pause(self, finished: int, stop: StopRequest) -> RunPaused:
        return RunPaused(
            f"asked to stop: saved {self.folder.path} after step {finished} of {self.schedule.steps}; the same command "
            "continues it",
            interrupted=stop.interrupted,
        )

    def _title(self) -> str:
        parameters = sum(parameter.numel() for parameter in self.task.model.parameters())
        precision = precision_of(self.accelerator)
        return (
            f"{self.task.title}: {parameters:,} parameters, {len(self.task.dataset):,} pictures, "
            f"{self.schedule.steps - self.start:,} steps of {self.settings.train.batch_size} in {precision}"
        )

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
        task, accelerator = self.task, self.accelerator
        place, world = accelerator.process_index, accelerator.num_processes
        order = batch_order(task, self.schedule.steps, self.start, place, world)
        pin = accelerator.device.type == "cuda"
        return training_batches(task.dataset, order, task.collate, task.workers, pin)

    def _step(self, step: int, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Take one optimiser step and return its scalars."""
        torch.manual_seed(step_seed(self.settings.run.seed, step, self.backend.stream))
        values = self.backend.step(step, self.task.prepare(tensors, step))
        self.divergence.note(step, values["grad_norm"], values["loss"])
        return values

    def _numbers(self, step: int, values: Mapping[str, Tensor]) -> dict[str, float]:
        """Return the scalars of a step as numbers, averaged over the processes."""
        numbers = {name: self._mean(value) for name, value in values.items()}
        if (diverged := self.divergence.step) is not None:
            stop_diverged(diverged, self._pictures(diverged), self.folder.path, self.folder.checkpoints, self.main)
        for reason in (self.loss_watch.note(step + 1, numbers["loss"]), self.task.hopeless(step + 1, numbers)):
            if reason is not None:
                stop_itself(reason, self.folder, self.settings.run.force, self.main)
        numbers["lr"] = self.schedule.rate(step)
        if self.settings.optim.weight_decay_end is not None:
            numbers["weight_decay"] = self.schedule.weight_decay(step)
        numbers["epoch"] = (step + 1) * self.settings.train.batch_size / len(self.task.dataset)
        return numbers

    def _pictures(self, step: int) -> list[dict[str, Any]]:
        """Return epoch, index and name of the pictures of a step, over all processes."""
        order, name = batch_order(self.task, self.schedule.steps, 0, 0, 1), self.task.dataset.name
        return [{"epoch": epoch, "index": index, "name": name(index)} for epoch, index in order.batch(step)]

    def _mean(self, value: Tensor) -> float:
        """Return the mean of a scalar over the processes; of frequencies (V,) the perplexity of theirs together."""
        value = value.detach().float()
        reduced: Any = self.accelerator.reduce(value, "mean") if self.accelerator.num_processes > 1 else value
        return float(perplexity(reduced) if reduced.dim() else reduced)
