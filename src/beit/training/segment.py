"""Train a BeiT with UperNet on scenes: pictures in which every pixel has a class.

Legend: K classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from beit.data import Collate, ViewDataset
from beit.data.scene_views import SceneViews
from beit.data.subset import spread
from beit.errors import ConfigError
from beit.image import IGNORED, Preprocessing
from beit.models_torch import BeitForSemanticSegmentation
from beit.models_torch.scene import SceneInference
from beit.models_torch.sliding_window import Windows
from beit.training.conclusion import conclude, save_model
from beit.training.device import make_accelerator
from beit.training.early_stop import EarlyStop
from beit.training.inputs import Sources, preprocessing
from beit.training.loop import train
from beit.training.metrics import read_metrics
from beit.training.optimiser import parameter_groups
from beit.training.plan import Plan, check_length
from beit.training.report import Section, curves_section
from beit.training.run_folder import RunFolder, open_run_folder
from beit.training.scenes import PixelCounts, count_pixels, open_scenes
from beit.training.segment_measure import measure_scenes, overlay_section, score_sections
from beit.training.segment_model import starting_segmenter
from beit.training.segment_objective import SegmentObjective
from beit.training.segment_settings import InferenceSettings, SegmentJob
from beit.training.sharding import check_sharding
from beit.training.together import one_run

_CURVES = {"Loss": ["loss"], "Pixels predicted right": ["pixel_accuracy"], "Learning rate": ["lr"],
           "1 - mean IoU of held-out scenes": ["held_out_error"]}  # fmt: skip


class SegmentRun:
    """A segmentation model with its objective, for the loop."""

    def __init__(
        self,
        model: BeitForSemanticSegmentation,
        view: Preprocessing,
        how: SceneInference,
        job: SegmentJob,
        class_weights: Tensor | None = None,
    ) -> None:
        self.model = model
        self._view, self._how = view, how
        self.module = SegmentObjective(model, class_weights, job.hard_pixels)
        layers = model.config.num_hidden_layers
        self.groups = parameter_groups(model, job.optim.weight_decay, job.optim.layer_decay, layers)

    def prepare(self, tensors: Mapping[str, Tensor], step: int) -> Mapping[str, Tensor]:
        """Return pictures and labels."""
        return tensors

    def weight(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """Return the number of pixels that have a class."""
        return (tensors["labels"] != IGNORED).sum().clamp(min=1).float()

    def save(self, folder: Path, model: Any = None) -> None:
        """Write the model, or another such as its moving average, into a folder, and how it is shown pictures."""
        (model or self.model).save_pretrained(folder)
        self._view.save_pretrained(folder)
        self._how.save_pretrained(folder)

    def load(self, folder: Path) -> None:
        """Fill the model from a folder."""
        self.model.load_weights(folder, strict=True)


@one_run
def segment(job: SegmentJob) -> RunFolder:
    """Train a segmentation model and leave it, metrics and report in the run folder, which is returned.

    Raises:
        ConfigError: If settings, data and checkpoint do not fit together.
        DataError: If pictures or masks are unusable.
    """
    check_sharding(job.run, job.train)
    sources = open_scenes(job.data, job.masks, job.run.seed)
    classes = list(sources.train.classes or ())
    accelerator = make_accelerator(job.run)
    check_length(job.train, job.optim, len(sources.train), accelerator.num_processes)
    check_weights(job, len(classes))
    counts = count_pixels(sources.train, job.masks.checked, visible=accelerator.is_main_process)
    count_pixels(sources.val, job.masks.checked, visible=accelerator.is_main_process)
    if accelerator.is_main_process:
        print(told(counts))  # noqa: T201
    torch.manual_seed(job.run.seed)
    model = starting_segmenter(job, classes)
    view = replace(preprocessing(job.model, model.config.image_hw, job.checkpoint), resize=model.config.image_hw)
    how = scene_inference(job.inference, job.scene.shorter_side, view)
    folder = open_run_folder(job, job.run, accelerator)
    if folder.finished:
        return folder
    scene = job.scene
    run = SegmentRun(model, view, how, job, class_weights(job, counts))
    views = SceneViews(view.image_hw, scene.scale, scene.shorter_side, scene.one_class, scene.flip, scene.distort,
                       view.mean, view.std)  # fmt: skip
    dataset = ViewDataset(sources.train, views, job.run.seed, replace_broken=True)

    def error() -> float:
        some = spread(sources.val, job.early_stop.pictures)
        return 1 - measure_scenes(model, how, some).scores.numbers()["mean_iou"]

    stop = EarlyStop(job.early_stop, "held_out_error", error)
    plan = Plan("segmentation", job.run, job.data, job.optim, job.train, dataset, Collate(job.run.seed), stop)
    steps = train(plan, run, folder, accelerator)
    if accelerator.is_main_process:
        save_model(folder, run.save)
        _conclude(job, model, how, sources, folder, steps)
    accelerator.wait_for_everyone()
    return folder


def check_weights(job: SegmentJob, classes: int) -> None:
    """Refuse weights for other classes.

    Raises:
        ConfigError: Naming them.
    """
    weights = job.class_weights
    if isinstance(weights, tuple) and (len(weights) != classes or min(weights) < 0):
        raise ConfigError(
            f"class_weights has {len(weights)} numbers, {list(weights[:5])}; expected one for each of the {classes} "
            "classes, none below 0"
        )


def class_weights(job: SegmentJob, counts: PixelCounts) -> Tensor | None:
    """Return the factors (K,) on the loss of each class, or None for none; balanced ones are 1 for the mean pixel."""
    if job.class_weights is None:
        return None
    if job.class_weights != "balanced":
        return torch.tensor(job.class_weights)
    pixels_K = counts.pixels_K.astype(np.float64)
    weights_K = np.where(pixels_K > 0, 1 / np.sqrt(np.maximum(pixels_K, 1)), 0)
    return torch.from_numpy(weights_K * pixels_K.sum() / (weights_K * pixels_K).sum()).float()


def scene_inference(settings: InferenceSettings, shorter_side: int | None, view: Preprocessing) -> SceneInference:
    """Return how whole scenes are segmented."""
    if settings.mode == "whole":
        if settings.window is not None or settings.stride is not None:
            raise ConfigError("inference.window or inference.stride is set, and inference.mode is whole; choose one")
        windows = None
    else:
        height, width = (settings.window, settings.window) if settings.window is not None else view.image_hw
        steps = [settings.stride or max(1, side * 2 // 3) for side in (height, width)]
        windows = Windows((height, width), (steps[0], steps[1]))
    return SceneInference(windows, shorter_side, settings.scales, settings.flip, view.mean, view.std)


def told(counts: PixelCounts) -> str:
    """Return what is in the masks, a line for each class."""
    width = max(len(row[0]) for row in counts.table())
    lines = [f"  {name:<{width}}  {pixels:>15}  {share:>7}" for name, pixels, share in counts.table()]
    return "\n".join([f"pixels in {counts.masks:,} masks:", *lines])


def _conclude(
    job: SegmentJob,
    model: BeitForSemanticSegmentation,
    how: SceneInference,
    sources: Sources,
    folder: RunFolder,
    steps: int,
) -> None:
    measured = measure_scenes(model, how, sources.val, visible=True)
    names = model.config.class_names
    iou = {f"iou_{name}": float(value) for name, value in zip(names, measured.scores.iou, strict=True)}
    numbers = {**measured.scores.numbers(), **{name: value for name, value in iou.items() if value == value}}

    def sections() -> list[Section]:
        curves = curves_section(read_metrics(folder.metrics), _CURVES)
        return [*score_sections(measured, names), overlay_section(model, how, sources.val), curves]

    conclude("Segmentation", job, folder, steps, numbers, measured.broken, sections)
