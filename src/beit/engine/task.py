"""Contract between a training task and the engine."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Generic, NamedTuple, Protocol, TypeVar

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from beit.data import (
    Batch,
    BrokenPicture,
    Collate,
    DeviceViews,
    ImageSource,
    KeptPictures,
    ViewDataset,
    Views,
    loading_workers,
)
from beit.engine.optimiser import parameter_groups
from beit.engine.processes import found_by_first
from beit.engine.recorded import Choice
from beit.engine.schedule import SCRATCH, Rate, Schedule
from beit.errors import ConfigError
from beit.evaluation.features.layers import Layers, Shown
from beit.models_torch.device import busy_cpus
from beit.reports.charts import Level
from beit.reports.gallery import Scene
from beit.reports.report import Section
from beit.settings.groups import (
    DataSettings,
    EarlyStopSettings,
    GallerySettings,
    KeepBestSettings,
    MonitorSettings,
    OptimSettings,
    RunSettings,
    TrainSettings,
    ValidationSettings,
)
from beit.settings.inputs import Sources, open_sources

SAMPLED = "sampled"  # name of the hashes of some pictures in the state of a checkpoint
_COMPARED = 128  # files, when a run continues


def _sample(source: ImageSource) -> list[str]:
    """Return hashes of some files of a collection; one of all where each holds many pictures: nobody repairs those."""
    lines = source.sampled(_COMPARED)
    lines = lines if source.shard_sizes is None else ["\n".join(lines)]
    return [hashlib.sha256(line.encode("utf-8", "surrogateescape")).hexdigest()[:12] for line in lines]


class TrainingSettings(Protocol):
    """Groups of settings that every task has."""

    @property
    def run(self) -> RunSettings:
        """Folder, seed, device, checkpoints."""
        ...

    @property
    def data(self) -> DataSettings:
        """Pictures to train and to validate on."""
        ...

    @property
    def optim(self) -> OptimSettings:
        """Optimiser and its schedule."""
        ...

    @property
    def train(self) -> TrainSettings:
        """Length and batches."""
        ...

    @property
    def validation(self) -> ValidationSettings:
        """Measurements while the run works."""
        ...

    @property
    def early_stop(self) -> EarlyStopSettings:
        """Settings of early stopping on them."""
        ...


S = TypeVar("S", bound=TrainingSettings)
M = TypeVar("M", bound=nn.Module)


@dataclass(frozen=True)
class Measured:
    """Measurements of a model on held-out pictures.

    Attributes:
        numbers: For metrics, result and report.
        broken: Held-out pictures that could not be used.
        sections: Makes the task's own sections of the report; None: a table of the numbers.
        levels: Values to compare with in the charts, by the charts' titles.
    """

    numbers: Mapping[str, float]
    broken: Sequence[BrokenPicture] = ()
    sections: Callable[[], list[Section]] | None = None
    levels: Mapping[str, Level] = field(default_factory=dict[str, Level])


class Stage(NamedTuple):
    """A training that comes before another, inside its run folder: a task, its settings, and their prefix there."""

    task: type[Task[Any, Any]]
    settings: Any
    prefix: str


class ShownScene(NamedTuple):
    """The pictures of a gallery: its settings, and the function that makes the scene, called once."""

    settings: GallerySettings
    make: Callable[[], Scene]


class Monitored(NamedTuple):
    """Part of a task that the quality monitor measures.

    Attributes:
        settings: How often, and on how many pictures.
        keep_best: Which model to keep in `best/`.
        plain: The views of evaluation.
        random: The random views of the training.
        layers: Tensors of a batch to the patch features (B, N, D) of every layer of the model as it is now.
        objection: The reason why nothing can be learnt from what has to be predicted on some training pictures; None if
            something can.
        batch_size: Pictures at once.
    """

    settings: MonitorSettings
    keep_best: KeepBestSettings
    plain: Shown
    random: Shown
    layers: Layers
    objection: Callable[[ImageSource], str | None]
    batch_size: int


class Task(ABC, Generic[S, M]):
    """One kind of training: everything about it that the engine does not know.

    The engine makes a task from its settings, opens the pictures, calls `start` while nothing is written yet, then
    `build`, takes the steps, and at the end measures and saves the model. Only `build`, `views` and `measure` have to
    be written; all else has a default.

    Attributes:
        title: Name of the training, in progress lines and the report.
        watched: Number that an early stop looks at; less is better.
        curves: Charts of the report: title, and the metrics in it.
        preparing: What `prepare` does in a step, for a forecast.
        preparing_hint: How to spend less time on it; empty if there is no way.
        keeps_pictures: Whether decoded pictures may be kept in memory: not those that are opened with something else.
        width: Of the model's hidden layers, by which the precision "auto" is chosen on a CPU; None: fp32 there.
        settings: Settings of the task.
        accelerator: Device and processes, set before the pictures are opened.
        world: Processes of the run.
        sources: Pictures to train and to validate on.
        module: The module with the loss, from `build`: called with (prepared tensors, progress in [0, 1]), it returns
            scalars, "loss" among them, and frequencies (V,), whose perplexity is logged. Its `model` is exported.
    """

    title: ClassVar[str]
    watched: ClassVar[str] = "held_out_loss"
    curves: ClassVar[Mapping[str, Sequence[str]]] = {"Loss": ["loss", "held_out_loss"], "Learning rate": ["lr"]}

    preparing: ClassVar[str] = "prepares the batch"
    preparing_hint: ClassVar[str] = ""
    keeps_pictures: ClassVar[bool] = True
    width: int | None = None

    accelerator: Accelerator
    world: int
    sources: Sources
    module: M

    def __init__(self, settings: S) -> None:
        """Keep the settings; a task refuses here what it can without pictures."""
        self.settings = settings

    # What a run starts from.

    def open(self) -> Sources:
        """Open the pictures to train and to validate on."""
        return open_sources(self.settings.data, self.settings.run.seed)

    def start(self) -> None:
        """Refuse what does not fit, and load what the training starts from; nothing is written before.

        Raises:
            ConfigError: If settings, pictures and checkpoint do not fit together.
        """
        self.schedule.check(self.world)

    def inspect(self) -> None:
        """Read through the files whose faults must stop a run before its first step; a forecast leaves it out."""

    def first(self, folder: Path) -> Stage | None:
        """Return a training that has to come first, whose run folder lies inside `folder`; usually none."""
        return None

    def receive(self, model: Path | None) -> None:
        """Take the model of the first stage; None in a forecast, where one of the same size stands in for it."""

    @abstractmethod
    def build(self) -> M:
        """Return the module with the loss; its `model` is what is exported. torch's seed is that of the run."""

    # What a step takes.

    @abstractmethod
    def views(self) -> Callable[[Any, np.random.Generator], Mapping[str, Any]]:
        """Return the random views of the training pictures."""

    def model_views(self) -> Views | None:
        """Return the random views of the model alone; None where they are of another kind."""
        views = self.views()
        return views if isinstance(views, Views) else None

    @cached_property
    def dataset(self) -> ViewDataset:
        """The pictures to train on."""
        return ViewDataset(self.sources.train, self.placed(self.views()), self.settings.run.seed, replace_broken=True)

    def placed(self, views: Callable[[Any, np.random.Generator], Mapping[str, Any]]) -> Any:
        """Return random views made by the loading processes, or where the model is if `augment.device` says so."""
        augment, kept = getattr(self.settings, "augment", None), self.sources.train
        if getattr(augment, "device", None) != "model":
            return views
        assert isinstance(views, Views) and isinstance(kept, KeptPictures)  # noqa: S101, PT018  # else it is refused
        return DeviceViews(views, kept.longest_side)

    def on_device(self, batch: Batch) -> Mapping[str, Tensor]:
        """Return the tensors of a batch of `dataset` on the device of the run, with its views."""
        tensors, views = batch.to(self.accelerator.device).tensors, self.dataset.views
        return views.complete(tensors) if isinstance(views, DeviceViews) else tensors

    @cached_property
    def collate(self) -> Collate:
        """Samples to batches."""
        return Collate(self.settings.run.seed)

    @property
    def workers(self) -> int:
        """Processes that load pictures for this one."""
        return loading_workers(self.settings.data.workers, busy_cpus(self.accelerator.device))

    @property
    def together(self) -> int:
        """Neighbours in the order that one process gets, because they are mixed with each other."""
        return 1

    def prepare(self, tensors: Mapping[str, Tensor], step: int) -> Mapping[str, Tensor]:
        """Return the tensors that the module takes, made of those of a batch, without gradients."""
        return tensors

    def count(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """Return the number of terms that the loss of a batch is the mean of, a scalar; usually its pictures."""
        some = next(iter(tensors.values()))
        return some.new_full((), len(some), dtype=torch.float32)  # `new_tensor` copies from the host, and waits for it

    def parameter_groups(self) -> list[dict[str, object]]:
        """Return groups of parameters, each with `weight_decay`, `decays` and `lr_scale`."""
        optim = self.settings.optim
        layers = getattr(getattr(self.model, "config", None), "num_hidden_layers", 0)
        return parameter_groups(self.module, optim.weight_decay, optim.layer_decay, layers)

    def rate(self) -> Rate:
        """Return the learning rate that `optim.lr: auto` stands for; usually that of trainings from random weights.

        Raises:
            ConfigError: If none is known.
        """
        return SCRATCH

    def choices(self) -> Sequence[Choice]:
        """Return what settings of the task's own that are `auto` stand for; usually it has none."""
        return ()

    def jax_loss(self, flax: Any) -> Any:
        """Return the loss as a JAX function (parameters, batch, random key) -> scalars, for the Flax model.

        Raises:
            ConfigError: If the task is not trained in JAX.
        """
        raise ConfigError(f"run.framework is jax, which {self.title} does not have; set run.framework to torch")

    @property
    def guessing(self) -> float | None:
        """The loss of equal probabilities for everything, far above which a run has diverged; None: not known."""
        return None

    def hopeless(self, step: int, numbers: Mapping[str, float]) -> str | None:
        """Return why a training with these metrics after `step` steps cannot learn, with a remedy; usually None.

        Called on all processes with the same numbers, whenever they are looked at.
        """
        return None

    # What is measured, shown and kept.

    def held_out(self, source: ImageSource) -> float:
        """Return the number that an early stop looks at, of some held-out pictures."""
        return self.measure(self.model, source).numbers[self.watched]

    @abstractmethod
    def measure(self, model: nn.Module, source: ImageSource) -> Measured:
        """Measure the model, or another of its kind such as its moving average, on held-out pictures.

        Raises:
            DataError: If no picture is usable.
        """

    def gallery(self) -> ShownScene | None:
        """Return the scene that the gallery shows again and again while the model learns; usually none."""
        return None

    def monitor(self) -> Monitored | None:
        """Return what the quality monitor measures while the model learns; usually nothing."""
        return None

    def continued_by(self) -> dict[str, Any]:
        """Return what has to be the same when the run continues: number and sample of its pictures, and `identity`."""
        apart = self.settings.data.val_path is not None
        sources = (self.sources.train, self.sources.val) if apart else (self.sources.train,)
        sample = found_by_first(self.accelerator, lambda: [_sample(source) for source in sources])
        return {"pictures": len(self.dataset), **self.identity(), SAMPLED: sample}

    def identity(self) -> Mapping[str, str]:
        """Return the values that must be the same when the run continues, beside settings and pictures."""
        return {}

    def flops(self) -> float | None:
        """Return the operations per picture in a training step, None if they are not known."""
        return None

    def preparing_flops(self) -> float:
        """Return the operations per picture of the preparation of a batch."""
        return 0.0

    def activations(self, pictures: int, on_cpu: bool) -> Mapping[str, float]:
        """Return the bytes that a step with so many pictures at once keeps, estimated, by what they are for.

        Weights, gradients and optimiser are not part of it. A forecast for GPUs asks a CPU for those of a GPU.
        """
        return {}

    def save(self, folder: Path, model: Any = None) -> None:
        """Write the model, or another of its kind such as its moving average, into a folder."""
        chosen: Any = self.model if model is None else model
        chosen.save_pretrained(folder)

    def load(self, folder: Path) -> None:
        """Load the model from such a folder."""
        model: Any = self.model
        model.load_weights(folder, strict=True)

    # What the engine reads.

    @property
    def model(self) -> nn.Module:
        """The part of the module that is exported."""
        return self.module.get_submodule("model")

    @property
    def schedule(self) -> Schedule:
        """Steps, learning rate and weight decay of the run."""
        return Schedule(self.settings.optim, self.settings.train, len(self.sources.train))
