"""Predictor: pictures in, answers of a trained model out.

Legend: B batch, C channels, D hidden, K classes, S = 1 + N tokens, H x W pixels; rows and cols count patches.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Self, cast

import numpy as np
from numpy.typing import NDArray

from beit.config import BeitConfig
from beit.errors import ConfigError
from beit.geometry import Grid, patch_grid
from beit.hub import HubOptions
from beit.image import Preprocessing
from beit.inference.loading import load_runner, load_scene_inference, load_view
from beit.inference.pictures import Picture, each_picture, opened, to_rgb
from beit.inference.results import Attention, Classification, Embedding, Reconstruction, Segmentation
from beit.inference.runner import Floats, Runner, TorchRunner
from beit.inference.tasks import Task, check_task, possible_tasks

if TYPE_CHECKING:
    from beit.inference.reconstruction import Reconstructor
    from beit.models_torch.scene import SceneInference
    from beit.tokenizer import VisualTokenizer


class Predictor:
    """A model with its preprocessing, for every task that it can do.

    Args:
        runner: What computes.
        preprocessing: How it is shown pictures.
        scene: How a segmentation model is shown pictures of any size.
        tokenizer: Makes a pre-training model able to reconstruct.

    Attributes:
        tasks: What can be asked: some of "classify", "segment", "embed", "reconstruct" and "attend".
        runner: What computes.
        preprocessing: How it is shown pictures.

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
        self.runner: Runner = runner
        self.preprocessing: Preprocessing = preprocessing
        self.scene = scene
        self._grid: Grid = patch_grid(preprocessing.image_hw, runner.config.patch_size)
        if not isinstance(runner, TorchRunner) and preprocessing.image_hw != runner.image_hw:
            raise ConfigError(
                f"the exported model takes pictures of {runner.image_hw} pixels, its preprocessing makes "
                f"{preprocessing.image_hw}; expected the same size: export it again"
            )
        self._reconstruct: Reconstructor | None = None
        if tokenizer is not None:
            from beit.inference.reconstruction import Reconstructor

            self._reconstruct = Reconstructor(runner, preprocessing, tokenizer, self._grid)
        self.tasks: frozenset[Task] = possible_tasks(runner, reconstructs=tokenizer is not None)

    @classmethod
    def from_pretrained(
        cls,
        name: str | Path,
        *,
        device: str = "auto",
        dtype: str = "float32",
        tokenizer: str | Path | VisualTokenizer | None = None,
        hub: HubOptions | None = None,
    ) -> Self:
        """Load a model of any kind.

        Args:
            name: A model folder, a name on the hub or of a published checkpoint, a file of weights, or the folder of an
                exported model.
            device: "cpu", "cuda", or "auto" for a GPU if there is one.
            dtype: What it computes in: "float32", "bfloat16", or on a GPU "float16".
            tokenizer: With a pre-training model: the tokenizer whose tokens it predicts, or its folder, file or name.
            hub: How the hub is used.

        Raises:
            ConfigError: If a config is missing or invalid, there is no such device or type, or the tokenizer does not
                fit.
            CheckpointError: If the weights are missing, damaged or do not fit.
        """
        runner = load_runner(name, device, dtype, hub)
        view = load_view(name, runner.image_hw, hub)
        scene = load_scene_inference(name, runner.image_hw, view) if runner.task == "segment" else None
        if isinstance(tokenizer, str | Path):
            from beit.tokenizer import load_tokenizer

            tokenizer = load_tokenizer(tokenizer, hub)
        return cls(runner, view, scene, tokenizer)

    @property
    def config(self) -> BeitConfig:
        """The model's options."""
        return self.runner.config

    @property
    def classes(self) -> list[str]:
        """Class names, by number; none of a model that tells no classes, though its config always names some."""
        return self.config.class_names if self.tasks & {"classify", "segment"} else []

    def classify(self, pictures: Picture, top_k: int = 5, batch_size: int = 32) -> list[Classification]:
        """Return the `top_k` most likely classes of every picture.

        Args:
            pictures: A Pillow image, a path, the bytes of a file, an array of pixels, a folder, or several of them.
            top_k: How many classes, all of them if there are fewer.
            batch_size: Pictures computed together.

        Raises:
            DataError: If a picture is missing or broken.
            ConfigError: If the model cannot classify, or `top_k` or `batch_size` is below 1.
        """
        self.require("classify")
        _check_positive("top_k", top_k)
        return [
            answer
            for pixels_BCHW in self._batches(pictures, batch_size)
            for answer in self.classify_pixels(pixels_BCHW, top_k)
        ]

    def segment(self, pictures: Picture) -> list[Segmentation]:
        """Return the class of every pixel of pictures of any size.

        Raises:
            DataError: If a picture is missing or broken.
            ConfigError: If the model cannot segment.
        """
        self.require("segment")
        from beit.inference.scenes import segment

        if self.scene is None:
            raise ConfigError("the predictor has no scene inference; expected one: use Predictor.from_pretrained")
        found: list[Segmentation] = []
        for picture in opened(each_picture(pictures)):
            found.append(Segmentation(segment(self.runner, picture, self.scene), self.classes, picture))
        return found

    def embed(self, pictures: Picture, batch_size: int = 32) -> list[Embedding]:
        """Return one vector per picture: the pooled features of the last layer.

        Raises:
            DataError: If a picture is missing or broken.
            ConfigError: If the model gives no embeddings, or `batch_size` is below 1.
        """
        self.require("embed")
        return [
            answer for pixels_BCHW in self._batches(pictures, batch_size) for answer in self.embed_pixels(pixels_BCHW)
        ]

    def reconstruct(
        self, pictures: Picture, mask: NDArray[np.bool_] | None = None, share: float = 0.4, seed: int = 0
    ) -> list[Reconstruction]:
        """Return pictures whose hidden patches are painted by what the model predicts.

        Args:
            pictures: As for `classify`.
            mask: (rows, cols), True = hidden from the model; default: blocks as in pre-training, one mask for all.
            share: How much of a picture the default mask hides at most, above 0, up to 1.
            seed: Of the default mask.

        Raises:
            DataError: If a picture is missing or broken.
            ConfigError: If the model cannot reconstruct, or the mask or share does not fit.
        """
        self.require("reconstruct")
        from beit.inference.reconstruction import checked_mask, default_mask

        hidden = default_mask(self._grid, share, seed) if mask is None else checked_mask(mask, self._grid)
        reconstruct = cast("Reconstructor", self._reconstruct)  # the task is possible
        return list(reconstruct(list(opened(each_picture(pictures))), hidden))

    def attend(self, pictures: Picture, layer: int = -1, patch: tuple[int, int] | None = None) -> list[Attention]:
        """Return how much each head of a layer attends to every patch.

        Args:
            pictures: As for `classify`.
            layer: Counted from 0, or from the end with -1 the last.
            patch: The (row, col) whose attention it is; default: that of [CLS].

        Raises:
            DataError: If a picture is missing or broken.
            ConfigError: If the model gives no attention, or it has no such layer or patch.
        """
        self.require("attend")
        runner = cast(TorchRunner, self.runner)  # the task is possible
        query = 0 if patch is None else self._place(patch)
        layers = self.config.num_hidden_layers
        if not -layers <= layer < layers:
            raise ConfigError(
                f"layer is {layer}; expected 0 to {layers - 1}, or -1 for the last, -{layers} for the first"
            )
        found: list[Attention] = []
        for picture in opened(each_picture(pictures)):
            maps_HSS = runner.attention(self.preprocessing(picture)[None], layer)[0]
            maps = maps_HSS[:, query, 1:].reshape(-1, *self._grid)
            found.append(Attention(self.preprocessing.crop(picture), maps, patch))
        return found

    def prepare(self, picture: Picture) -> Floats:
        """Return what the model is shown of one picture, (3, H, W), normalised; several threads may do so at once.

        Raises:
            DataError: If it is missing or broken.
        """
        return self.preprocessing(to_rgb(picture))

    def classify_pixels(self, pixels_BCHW: Floats, top_k: int = 5) -> list[Classification]:
        """Return the classes of pictures that `prepare` has made ready.

        Raises:
            ConfigError: If the model cannot classify, or `top_k` is below 1.
        """
        self.require("classify")
        _check_positive("top_k", top_k)
        probabilities_BK = _probabilities(self.runner(pixels_BCHW), self.config.problem_type)
        best_Bk = np.argsort(-probabilities_BK, axis=1, kind="stable")[:, :top_k]
        names = self.classes
        return [
            Classification([names[index] for index in best_k], probabilities_K[best_k].tolist())
            for best_k, probabilities_K in zip(best_Bk, probabilities_BK, strict=True)
        ]

    def embed_pixels(self, pixels_BCHW: Floats) -> list[Embedding]:
        """Return the embeddings of pictures that `prepare` has made ready.

        Raises:
            ConfigError: If the model gives none.
        """
        self.require("embed")
        runner = self.runner
        vectors_BD = runner.embed(pixels_BCHW) if isinstance(runner, TorchRunner) else runner(pixels_BCHW)
        return [Embedding(vector_D) for vector_D in vectors_BD]

    def require(self, task: str) -> None:
        """Refuse a task that this model cannot do.

        Raises:
            ConfigError: Naming those that it can.
        """
        check_task(task, self.tasks, self.runner)

    def _batches(self, pictures: Picture, batch_size: int) -> Iterator[Floats]:
        """Yield the pixels of pictures, (B, C, H, W), opened only when their turn comes."""
        _check_positive("batch_size", batch_size)
        waiting: list[Floats] = []
        for picture in opened(each_picture(pictures)):
            waiting.append(self.preprocessing(picture))
            if len(waiting) == batch_size:
                yield np.stack(waiting)
                waiting = []
        if waiting:
            yield np.stack(waiting)

    def _place(self, patch: tuple[int, int]) -> int:
        """Return which token of the sequence a patch is."""
        rows, cols = self._grid
        if len(patch) != 2 or not (0 <= patch[0] < rows and 0 <= patch[1] < cols):
            raise ConfigError(f"patch is {patch}; expected a row of 0 to {rows - 1} and a column of 0 to {cols - 1}")
        return 1 + patch[0] * cols + patch[1]


def _probabilities(logits_BK: Floats, problem_type: str | None) -> Floats:
    if problem_type == "multi_label_classification":
        return np.exp(-np.logaddexp(np.float32(0), -logits_BK))
    raised_BK: Floats = np.exp(logits_BK - logits_BK.max(axis=1, keepdims=True))
    return raised_BK / raised_BK.sum(axis=1, keepdims=True)


def _check_positive(name: str, value: int) -> None:
    if value < 1:
        raise ConfigError(f"{name} is {value}; expected at least 1")
