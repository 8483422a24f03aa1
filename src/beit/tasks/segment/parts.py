"""The parts of a segmentation training: class weights, batch norms, and how whole scenes are segmented.

Legend: K classes.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from beit.errors import ConfigError
from beit.image import Preprocessing
from beit.models_torch import BeitForSemanticSegmentation
from beit.models_torch.scene import SceneInference
from beit.models_torch.sliding_window import Windows
from beit.settings.segment import InferenceSettings, SegmentJob
from beit.tasks.segment.pixel_counts import PixelCounts


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


def class_weights(job: SegmentJob, counts: PixelCounts | None) -> Tensor | None:
    """Return the factors (K,) on the loss of each class, or None for none; balanced ones are 1 for the mean pixel."""
    if job.class_weights is None:
        return None
    if job.class_weights != "balanced":
        return torch.tensor(job.class_weights)
    if counts is None:
        return None
    pixels_K = counts.pixels_K.astype(np.float64)
    weights_K = np.where(pixels_K > 0, 1 / np.sqrt(np.maximum(pixels_K, 1)), 0)
    return torch.from_numpy(weights_K * pixels_K.sum() / (weights_K * pixels_K).sum()).float()


def share_batch_norms(model: BeitForSemanticSegmentation) -> None:
    """Let the batch norms of the heads see the pictures of all processes, as in the published runs; for GPUs only."""
    for name, child in list(model.named_children()):
        model.add_module(name, nn.SyncBatchNorm.convert_sync_batchnorm(child))


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
