"""Segmentation of pictures of any size, by a torch model or an exported one.

Legend: C channels, K classes; h x w pixels of a window, y x x a map of scores.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from beit.image import AnyPicture
from beit.inference.runners.runner import Runner
from beit.inference.runners.torch_runner import TorchRunner
from beit.inference.runners.wanted import check_wanted
from beit.models_torch.scene import SceneInference, segment_scene
from beit.outputs import SemanticSegmenterOutput

if TYPE_CHECKING:
    from beit.models_torch import BeitForSemanticSegmentation


def segment(runner: Runner, picture: AnyPicture, how: SceneInference) -> NDArray[np.int64]:
    """Return the class of every pixel, (H, W), of a picture."""
    if isinstance(runner, TorchRunner):
        with runner.computing():
            return segment_scene(cast("BeitForSemanticSegmentation", runner.model), picture, how, check_wanted).numpy()
    model: Any = _AsModel(runner)
    return segment_scene(model, picture, how, check_wanted).numpy()


class _AsModel:
    """The interface of a model that `segment_scene` needs, around a runner of a single picture size."""

    def __init__(self, runner: Runner) -> None:
        self._runner, self.config = runner, runner.config
        self.device = torch.device("cpu")

    def __call__(self, pixels_1Chw: Tensor, return_dict: bool = True) -> SemanticSegmenterOutput:
        """Return the scores (1, K, y, x) of a window; what it is short of the runner's size is filled with 0."""
        height, width = self._runner.image_hw
        down, across = height - pixels_1Chw.shape[2], width - pixels_1Chw.shape[3]
        whole = functional.pad(pixels_1Chw, (0, across, 0, down))
        scores_1Kyx = torch.from_numpy(self._runner(np.ascontiguousarray(whole.numpy())))
        rows = scores_1Kyx.shape[2] * pixels_1Chw.shape[2] // height
        columns = scores_1Kyx.shape[3] * pixels_1Chw.shape[3] // width
        return SemanticSegmenterOutput(logits=scores_1Kyx[:, :, :rows, :columns])
