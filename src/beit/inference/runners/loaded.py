"""Loaded models: a runner, its preprocessing, and the parts that some tasks need.

Legend: B batch, C channels, D hidden, H x W pixels; h x w patches.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar

from beit.config import FEATURES_NAME, BeitConfig
from beit.errors import ConfigError
from beit.files import read_json
from beit.geometry import Grid, patch_grid
from beit.image import Preprocessing
from beit.inference.runners.runner import Floats, Runner
from beit.inference.runners.torch_runner import TorchRunner

if TYPE_CHECKING:
    from beit.inference.runners.reconstruction import Reconstructor
    from beit.models_torch.scene import SceneInference
    from beit.tokenizer import VisualTokenizer

Made = TypeVar("Made")
_REMEDY = "name a layer by its number, or measure the layers with beit benchmark"


class LoadedModel:
    """Model as the tasks of a predictor see it.

    Args:
        runner: The model: torch or an exported file.
        preprocessing: Preprocessing of pictures.
        scene: Scene inference of a segmentation model.
        tokenizer: Tokenizer with which a pre-training model reconstructs.
        features_file: `features.json` of a pre-training, which names the best layer; None without one.

    Attributes:
        runner: The model: torch or an exported file.
        preprocessing: Preprocessing of pictures.
        scene: Scene inference of a segmentation model; an exported one sees whole pictures in windows of its size.
        grid: Patches of a picture, (height, width).
        reconstructor: Paints hidden patches; None without a tokenizer.
        features_file: `features.json` of a pre-training, which names the best layer; None without one.

    Raises:
        ConfigError: If the parts do not fit each other.
    """

    def __init__(
        self,
        runner: Runner,
        preprocessing: Preprocessing,
        scene: SceneInference | None = None,
        tokenizer: VisualTokenizer | None = None,
        features_file: Path | None = None,
    ) -> None:
        if not isinstance(runner, TorchRunner) and preprocessing.image_hw != runner.image_hw:
            raise ConfigError(
                f"the exported model takes pictures of {runner.image_hw} pixels, its preprocessing makes "
                f"{preprocessing.image_hw}; expected the same size: export it again"
            )
        if (taken := runner.config.num_channels) != len(preprocessing.mean):
            raise ConfigError(
                f"the model takes pictures of {taken} channels, and its mean is of {len(preprocessing.mean)}; expected "
                "a preprocessor_config.json with one number per channel: correct it"
            )
        self.runner: Runner = runner
        self.preprocessing: Preprocessing = preprocessing
        self.scene = scene if scene is None or isinstance(runner, TorchRunner) else scene.within(runner.image_hw)
        self.grid: Grid = patch_grid(preprocessing.image_hw, runner.config.patch_size)
        self.features_file = features_file
        self._made: dict[Hashable, Any] = {}
        self._making = Lock()
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

    def features(self, pixels_BCHW: Floats, layers: tuple[int, ...], pooling: str) -> list[Floats]:
        """Return features of some layers, counted from 1, each (B, D), or (B, h, w, D) with the pooling "none".

        Raises:
            ConfigError: If the model is an exported one, or the pooling means nothing in it.
        """
        return self.with_layers().features(pixels_BCHW, layers, pooling)

    def with_layers(self) -> TorchRunner:
        """Return the runner of a model whose layers can be asked.

        Raises:
            ConfigError: If the model is an exported one.
        """
        if not isinstance(self.runner, TorchRunner):
            raise ConfigError(
                "the model is an exported file, which holds its own embedding and no layers; expected the default of "
                "layer and pooling: leave them out, or load the model that was exported"
            )
        return self.runner

    def best_layer(self) -> int:
        """Return the layer that the quality monitor of the pre-training found best, counted from 1.

        Raises:
            ConfigError: If none was measured.
        """
        return read_best_layer(self.features_file, self.config.num_hidden_layers)

    def once(self, key: Hashable, make: Callable[[], Made]) -> Made:
        """Return what a task makes once for this model, such as an index of a folder."""
        with self._making:
            if key not in self._made:
                self._made[key] = make()
            return self._made[key]


def read_best_layer(file: Path | None, layers: int) -> int:
    """Return the best layer, counted from 1.

    Args:
        file: The `features.json` of the model; None where there is none.
        layers: Layers of the model.

    Raises:
        ConfigError: If no layer was measured, or the file is of another model.
    """
    if file is None:
        raise ConfigError(
            f"layer is 'best', and no {FEATURES_NAME} lies beside the model; expected what a quality monitor measured: "
            f"{_REMEDY}"
        )
    best = read_json(file, "the features.json of a pre-training", _REMEDY).get("best_layer")
    if not isinstance(best, int) or not 1 <= best <= layers:
        raise ConfigError(f"{file} has best_layer {best!r}; expected 1 to {layers}, a layer of the model: {_REMEDY}")
    return best
