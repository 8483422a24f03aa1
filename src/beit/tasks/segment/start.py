"""What the training of a segmentation model starts from, checked before the first step: for the run, and its forecast.

Legend: K classes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from beit.data import ImageSource, ViewDataset
from beit.data.scene_views import SceneViews
from beit.engine.schedule import check_length
from beit.engine.sharding import check_sharding
from beit.errors import ConfigError
from beit.image import Preprocessing
from beit.models_torch import BeitForSemanticSegmentation
from beit.models_torch.scene import SceneInference
from beit.models_torch.sliding_window import Windows
from beit.settings.inputs import Sources, preprocessing
from beit.settings.segment import InferenceSettings, SegmentJob
from beit.tasks.segment.model import starting_segmenter
from beit.tasks.segment.pixel_counts import PixelCounts


@dataclass(frozen=True)
class SegmentationStart:
    """The parts of a training that fit together.

    Attributes:
        model: The model to train.
        view: Size of its input, mean and deviation.
        how: How whole scenes are segmented.
    """

    model: BeitForSemanticSegmentation
    view: Preprocessing
    how: SceneInference


def segmentation_start(job: SegmentJob, sources: Sources, world: int) -> SegmentationStart:
    """Return the parts of a training over `world` processes.

    Raises:
        ConfigError: If settings, data and checkpoint do not fit together.
        CheckpointError: If the checkpoint cannot be found or read.
    """
    check_sharding(job.run, job.train)
    check_length(job.train, job.optim, len(sources.train), world)
    classes = list(sources.train.classes or ())
    check_weights(job, len(classes))
    torch.manual_seed(job.run.seed)
    model = starting_segmenter(job, classes)
    view = replace(preprocessing(job.model, model.config.image_hw, job.checkpoint), resize=model.config.image_hw)
    return SegmentationStart(model, view, scene_inference(job.inference, job.scene.shorter_side, view))


def share_batch_norms(model: BeitForSemanticSegmentation) -> None:
    """Let the batch norms of the heads see the pictures of all processes, as in the published runs; for GPUs only."""
    for name, child in list(model.named_children()):
        model.add_module(name, nn.SyncBatchNorm.convert_sync_batchnorm(child))


def training_scenes(job: SegmentJob, start: SegmentationStart, source: ImageSource) -> ViewDataset:
    """Return the random views to train on."""
    scene, view = job.scene, start.view
    views = SceneViews(
        view.image_hw, scene.scale, scene.shorter_side, scene.one_class, scene.flip, scene.distort, view.mean, view.std
    )
    return ViewDataset(source, views, job.run.seed, replace_broken=True)


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
    """Return how whole scenes are segmented.

    Raises:
        ConfigError: If there are settings of windows, and none are wanted.
    """
    if settings.mode == "whole":
        if settings.window is not None or settings.stride is not None:
            raise ConfigError("inference.window or inference.stride is set, and inference.mode is whole; choose one")
        windows = None
    else:
        height, width = (settings.window, settings.window) if settings.window is not None else view.image_hw
        steps = [settings.stride or max(1, side * 2 // 3) for side in (height, width)]
        windows = Windows((height, width), (steps[0], steps[1]))
    return SceneInference(windows, shorter_side, settings.scales, settings.flip, view.mean, view.std)
