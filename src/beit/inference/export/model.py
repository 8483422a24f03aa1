"""Export model: a torch model with its task and preprocessing at the size in which it is exported."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from beit.config import BeitConfig, check_divisible, pair
from beit.errors import ConfigError
from beit.image import Preprocessing
from beit.inference.exported import is_exported
from beit.inference.loading import load_view, open_model
from beit.inference.runners.loaded import LoadedModel
from beit.inference.runners.runner import Floats, TaskName
from beit.inference.runners.torch_runner import TorchRunner
from beit.inference.tasks.registry import TASKS, exported_outputs
from beit.inference.tasks.task import ExportedOutput
from beit.models_torch import BeitPreTrainedModel
from beit.settings.export import AUTO, DYNAMIC, ExportJob


@dataclass(frozen=True)
class ExportModel:
    """Model to export, with its task and preprocessing.

    Attributes:
        source: Its name as it was given; of a place on this machine the last name alone.
        runner: The model in torch, the measure of what is exported.
        task: The task that the outputs belong to.
        view: Preprocessing of pictures; their size is the model's.
        any_size: Whether pictures of other sizes are welcome too.
        resized: Whether the size is another than the model's own.
    """

    source: str
    runner: TorchRunner
    task: TaskName
    view: Preprocessing
    any_size: bool
    resized: bool

    @property
    def torch_model(self) -> BeitPreTrainedModel:
        """The torch model."""
        return self.runner.model

    @property
    def config(self) -> BeitConfig:
        """Its options."""
        return self.runner.config

    @property
    def output(self) -> ExportedOutput:
        """The output tensor."""
        return exported_outputs()[self.task]

    def reference(self, pixels_BCHW: Floats) -> Floats:
        """Return the outputs of the torch model."""
        return self.runner(pixels_BCHW) if self.output.scores else self.runner.embed(pixels_BCHW)


def load_export_model(job: ExportJob) -> ExportModel:
    """Load a model at the size in which it is exported.

    Raises:
        ConfigError: If it cannot do the task or patches do not tile the size.
        CheckpointError: If it cannot be found or is damaged.
    """
    name, size = job.model, job.size()
    if is_exported(name):
        raise ConfigError(f"{name} is exported already; name the model that it was made of")
    kind, checkpoint = open_model(name, None)
    runner = TorchRunner(kind.from_checkpoint(checkpoint), "cpu")
    view = load_view(name, runner.image_hw, None)
    any_size, resized = size == DYNAMIC, False
    if size is not None and size != DYNAMIC:
        hw = pair(size)
        check_divisible(hw, runner.config.patch_hw)
        resized = hw != runner.image_hw
        if resized:
            runner = TorchRunner(kind.from_checkpoint(checkpoint, image_size=hw), "cpu")
        view = view.at_size(hw)
    elif view.image_hw != runner.image_hw:
        view = view.at_size(runner.image_hw)
    task = _task(job, LoadedModel(runner, view))
    if exported_outputs()[task].windows and any_size:
        raise ConfigError(
            "image_size is 'dynamic' for segmentation, whose pyramid pooling is exported for one size; name a size: "
            "larger pictures are cut into windows of it"
        )
    place = Path(name)
    return ExportModel(place.resolve().name if place.exists() else name, runner, task, view, any_size, resized)


def _task(job: ExportJob, model: LoadedModel) -> TaskName:
    """Return the task to export for: the model's own, or another one that it can do without its head."""
    own = model.runner.task
    others = [task for task in exported_outputs() if task != own and TASKS[task].possible(model)]
    if job.task == AUTO:
        return own
    if job.task not in (own, *others):
        raise ConfigError(
            f"task is {job.task!r}, but {job.model} was made to {own}; expected {', or '.join(['that', *others])}"
        )
    return job.task
