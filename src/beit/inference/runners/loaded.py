"""Loaded models: a runner, its preprocessing, and the parts that some tasks need.

Legend: B batch, C channels, D hidden, H x W pixels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from beit.config import BeitConfig
from beit.errors import ConfigError
from beit.geometry import Grid, patch_grid
from beit.image import Preprocessing
from beit.inference.runners.runner import Floats, Runner
from beit.inference.runners.torch_runner import TorchRunner

if TYPE_CHECKING:
    from beit.inference.runners.reconstruction import Reconstructor
    from beit.models_torch.scene import SceneInference
    from beit.tokenizer import VisualTokenizer


class LoadedModel:
    """Model as the tasks of a predictor see it.

    Args:
        runner: The model: torch or an exported file.
        preprocessing: Preprocessing of pictures.
        scene: Scene inference of a segmentation model.
        tokenizer: Tokenizer with which a pre-training model reconstructs.

    Attributes:
        runner: The model: torch or an exported file.
        preprocessing: Preprocessing of pictures.
        scene: Scene inference of a segmentation model.
        grid: Patches of a picture, (height, width).
        reconstructor: Paints hidden patches; None without a tokenizer.

    Raises:
        ConfigError: If the parts do not fit each other.
    """

    def __init__(
        self,
        runner: Runner,
        preprocessing: Preprocessing,
        scene: SceneInference | None = None,
        tokenizer: VisualTokenizer | None = None,
    ) -> None:
        if not isinstance(runner, TorchRunner) and preprocessing.image_hw != runner.image_hw:
            raise ConfigError(
                f"the exported model takes pictures of {runner.image_hw} pixels, its preprocessing makes "
                f"{preprocessing.image_hw}; expected the same size: export it again"
            )
        self.runner: Runner = runner
        self.preprocessing: Preprocessing = preprocessing
        self.scene = scene
        self.grid: Grid = patch_grid(preprocessing.image_hw, runner.config.patch_size)
        self.reconstructor: Reconstructor | None = None
        if tokenizer is not None:
            from beit.inference.runners.reconstruction import Reconstructor

            self.reconstructor = Reconstructor(runner, preprocessing, tokenizer, self.grid)

    @property
    def config(self) -> BeitConfig:
        """The model's options."""
        return self.runner.config

    def embed(self, pixels_BCHW: Floats) -> Floats:
        """Return one vector per picture, (B, D), of a torch model or one that was exported to embed."""
        runner = self.runner
        return runner.embed(pixels_BCHW) if isinstance(runner, TorchRunner) else runner(pixels_BCHW)
