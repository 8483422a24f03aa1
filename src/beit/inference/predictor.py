"""Predictor: pictures in, results of a trained model out.

Legend: B batch, C channels, H x W pixels; rows and cols count patches.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from beit.catalog import packaged_tokenizer
from beit.config import BeitConfig
from beit.errors import ConfigError
from beit.hub import HubOptions, included_folder
from beit.image import Preprocessing
from beit.inference.loading import features_file, load_runner, load_scene_inference, load_view, packaged_model
from beit.inference.pictures import Picture, each_picture, opened, to_input
from beit.inference.runners.loaded import LoadedModel
from beit.inference.runners.runner import Floats, Runner
from beit.inference.tasks.attend import AttendOptions, Attention
from beit.inference.tasks.classify import Classification, ClassifyOptions
from beit.inference.tasks.embed import Embedding
from beit.inference.tasks.features import PatchFeatures, PatchOptions
from beit.inference.tasks.layers import FeatureOptions, Pooling
from beit.inference.tasks.neighbours import NeighbourOptions, Neighbours
from beit.inference.tasks.options import Layers, TaskOptions
from beit.inference.tasks.reconstruct import Reconstruction, ReconstructOptions, hidden_places
from beit.inference.tasks.registry import TASKS, check_task, possible_tasks, task_named
from beit.inference.tasks.segment import Segmentation
from beit.inference.tasks.task import PredictorTask

if TYPE_CHECKING:
    from beit.models_torch.scene import SceneInference
    from beit.tokenizer import VisualTokenizer

LayerChoice = int | str | Sequence[int | str] | None


class Predictor:
    """Model with its preprocessing, for every task that it can do.

    Args:
        runner: The model: torch or an exported file.
        preprocessing: Preprocessing of pictures.
        scene: Scene inference of a segmentation model.
        tokenizer: Tokenizer with which a pre-training model reconstructs.
        features_file: `features.json` of a pre-training, which names the best layer.

    Attributes:
        model: The model as its tasks see it.

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
        self.model = LoadedModel(runner, preprocessing, scene, tokenizer, features_file)

    @classmethod
    def from_pretrained(
        cls,
        name: str | Path | None = None,
        *,
        device: str = "auto",
        precision: str = "fp32",
        tokenizer: str | Path | VisualTokenizer | None = None,
        hub: HubOptions | None = None,
    ) -> Self:
        """Load a model of any kind.

        Args:
            name: A model folder, a name on the hub or of a published checkpoint, a file of weights, or the folder of an
                exported model. Without one, the small classifier that the package brings.
            device: "cpu", "cuda", or "auto" for a GPU if there is one.
            precision: What it computes in: "fp32", "bf16", on a GPU "fp16", or "auto" for bf16 on a GPU that supports
                it, else fp32.
            tokenizer: With a pre-training model: the tokenizer whose tokens it predicts, or its folder, file or name;
                default: of the one that the package brings its own.
            hub: How the hub is used.

        Raises:
            ConfigError: If a config is missing or invalid, there is no such device or precision, or the tokenizer does
                not fit.
            CheckpointError: If the weights are missing, damaged or do not fit.
        """
        if name is None:
            name = packaged_model("classify")
        runner = load_runner(name, device, precision, hub)
        view = load_view(name, runner.image_hw, hub)
        scene = load_scene_inference(name, runner, view, hub)
        if tokenizer is None and included_folder(name) is not None:
            tokenizer = packaged_tokenizer(str(name))
        if isinstance(tokenizer, str | Path):
            from beit.tokenizer import load_tokenizer

            tokenizer = load_tokenizer(tokenizer, hub)
        return cls(runner, view, scene, tokenizer, features_file(name, hub))

    @property
    def runner(self) -> Runner:
        """The model: torch or an exported file."""
        return self.model.runner

    @property
    def preprocessing(self) -> Preprocessing:
        """Preprocessing of pictures for the model."""
        return self.model.preprocessing

    @property
    def scene(self) -> SceneInference | None:
        """Scene inference of a segmentation model; None of others."""
        return self.model.scene

    @property
    def config(self) -> BeitConfig:
        """The model's options."""
        return self.model.config

    @property
    def tasks(self) -> frozenset[str]:
        """The tasks that the model can do: some of those of the registry, such as "classify"."""
        return frozenset(possible_tasks(self.model))

    @property
    def classes(self) -> list[str]:
        """Class names, by number; none of a model whose results name no classes, though its config always has some."""
        return self.config.class_names if any(TASKS[name].names_classes for name in self.tasks) else []

    def ask(self, task: str, pictures: Picture, batch_size: int = 32, **options: Any) -> list[Any]:
        """Return the results of any task of the registry; the methods named after tasks do the same.

        Args:
            task: Its name.
            pictures: As for `classify`.
            batch_size: Pictures computed together.
            options: Of the task.

        Raises:
            DataError: If a picture is missing or broken.
            ConfigError: If the model cannot do the task, or an option or `batch_size` does not fit.
        """
        return self._results(task, pictures, task_named(task).options.of(task, **options), batch_size)

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
        return self._results("classify", pictures, ClassifyOptions(top_k), batch_size)

    def segment(self, pictures: Picture) -> list[Segmentation]:
        """Return the class of every pixel of pictures of any size.

        Raises:
            DataError: If a picture is missing or broken.
            ConfigError: If the model cannot segment.
        """
        return self._results("segment", pictures, TaskOptions())

    def embed(
        self,
        pictures: Picture,
        batch_size: int = 32,
        *,
        layer: LayerChoice = None,
        pooling: Pooling | None = "auto",
        size: tuple[int, int] | None = None,
    ) -> list[Embedding]:
        """Return one vector per picture: what the model's head reads, or features of any layer.

        Without `layer` and `pooling` it is the pooled features of the last layer, normalised as the model does. With
        either it is hidden states as `output_hidden_states` returns them.

        Args:
            pictures: As for `classify`.
            batch_size: Pictures computed together.
            layer: Counted from 1, or from the end with -1 the last; "best", which the quality monitor of the
                pre-training measured; "last"; or several of these, for an array of each. Default: the last.
            pooling: "mean" of the patches, the default with a layer; "cls", the [CLS] token; "attentive", the mean of
                the patches weighted by the attention of [CLS] in that layer; None, every patch, (rows, cols, D).
            size: (height, width) in pixels to which whole pictures are resized; any that patches tile. Default: what
                the model is always shown.

        Raises:
            DataError: If a picture is missing or broken.
            ConfigError: If the model gives no embeddings or has no such layer, if no best one was measured, or if
                another argument does not fit.
        """
        return self._results("embed", pictures, FeatureOptions(_layers(layer), size, pooling), batch_size)

    def neighbours(
        self,
        pictures: Picture,
        among: str | Path,
        k: int = 5,
        batch_size: int = 32,
        *,
        layer: int | str | None = None,
        pooling: Pooling = "auto",
        size: tuple[int, int] | None = None,
    ) -> list[Neighbours]:
        """Return the pictures of a folder whose embeddings are most similar to that of each picture.

        The search is exact, by cosine similarity. A file of the folder is not its own neighbour. The embeddings of the
        folder are computed once for each choice of the options, and kept in memory.

        Args:
            pictures: As for `classify`.
            among: The folder; its broken pictures are named in the log and left out.
            k: Neighbours of each picture, all if there are fewer.
            batch_size: Pictures computed together.
            layer: As for `embed`, one.
            pooling: As for `embed`, but for None.
            size: As for `embed`.

        Raises:
            DataError: If a picture is missing or broken, or the folder has none that can be read.
            ConfigError: If the model gives no embeddings, or an argument does not fit.
        """
        options = NeighbourOptions(layer, size, pooling, str(among), k)
        return self._results("neighbours", pictures, options, batch_size)

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
        places = None if mask is None else hidden_places(mask, self.model.grid)
        return self._results("reconstruct", pictures, ReconstructOptions(places, share, seed))

    def attend(self, pictures: Picture, layer: int = -1, patch: tuple[int, int] | None = None) -> list[Attention]:
        """Return the attention of each head of a layer to every patch.

        Args:
            pictures: As for `classify`.
            layer: Counted from 0, or from the end with -1 the last.
            patch: The (row, col) whose attention it is; default: that of [CLS].

        Raises:
            DataError: If a picture is missing or broken.
            ConfigError: If the model gives no attention, or it has no such layer or patch.
        """
        return self._results("attend", pictures, AttendOptions(layer, patch))

    def features(
        self,
        pictures: Picture,
        *,
        layer: int | str | None = None,
        patch: tuple[int, int] | None = None,
        foreground: bool = False,
        among: str | Path | None = None,
        size: tuple[int, int] | None = None,
    ) -> list[PatchFeatures]:
        """Return the patches of every picture in the colours of their principal components, to look at.

        Args:
            pictures: As for `classify`.
            layer: As for `embed`, one; default: the best where a pre-training measured one, else the last.
            patch: The (row, col) of a patch to which all others are compared by cosine similarity; None: none.
            foreground: Colour the foreground alone, by a second PCA of its patches.
            among: Folder of pictures whose patches share one PCA; None: each picture has its own.
            size: As for `embed`.

        Raises:
            DataError: If a picture is missing or broken, or the folder has none that can be read.
            ConfigError: If the model gives no features, or an argument does not fit.
        """
        options = PatchOptions(layer, size, patch, foreground, None if among is None else str(among))
        return self._results("features", pictures, options)

    def prepare(self, picture: Picture) -> Floats:
        """Return the pixels that the model is shown of one picture, (C, H, W), normalised.

        Several threads may do so at once.

        Raises:
            DataError: If it is missing or broken.
        """
        return self.preprocessing(to_input(picture, self.preprocessing.bands))

    def classify_pixels(self, pixels_BCHW: Floats, top_k: int = 5) -> list[Classification]:
        """Return the classes of pictures that `prepare` has made ready.

        Raises:
            ConfigError: If the model cannot classify, or `top_k` is below 1.
        """
        return self._of_pixels("classify", pixels_BCHW, ClassifyOptions(top_k))

    def embed_pixels(
        self, pixels_BCHW: Floats, *, layer: LayerChoice = None, pooling: Pooling | None = "auto"
    ) -> list[Embedding]:
        """Return the embeddings of normalised pixels, such as `prepare` makes, of any size that patches tile.

        Raises:
            ConfigError: As `embed`.
        """
        return self._of_pixels("embed", pixels_BCHW, FeatureOptions(_layers(layer), None, pooling))

    def require(self, task: str) -> None:
        """Refuse a task that this model cannot do.

        Raises:
            ConfigError: Naming those that it can.
        """
        check_task(task, self.model)

    def _of_pixels(self, name: str, pixels_BCHW: Floats, options: TaskOptions) -> list[Any]:
        self.require(name)
        prepared: Any = pixels_BCHW  # the array is a sequence of pictures as it is: a list would be a copy
        return TASKS[name].results(self.model, prepared, [options] * len(pixels_BCHW))

    def _results(self, name: str, pictures: Picture, options: TaskOptions, batch_size: int = 1) -> list[Any]:
        self.require(name)
        whole: Any = Integral  # also numpy's
        if not isinstance(batch_size, whole) or batch_size < 1:
            raise ConfigError(f"batch_size is {batch_size}; expected a whole number, at least 1")
        task, found = TASKS[name], list[Any]()
        for prepared in self._batches(task, pictures, options, batch_size if task.batched else 1):
            found += task.results(self.model, prepared, [options] * len(prepared))
        return found

    def _batches(
        self, task: PredictorTask[Any, Any], pictures: Picture, options: TaskOptions, size: int
    ) -> Iterator[list[Any]]:
        """Yield pictures that a task has made ready, opened only when their turn comes."""
        waiting: list[Any] = []
        bands = self.preprocessing.bands
        for picture, path in opened(each_picture(pictures, bands), bands):
            waiting.append(task.prepare(self.model, picture, options, path))
            if len(waiting) == size:
                yield waiting
                waiting = []
        if waiting:
            yield waiting


def _layers(layer: LayerChoice) -> Layers:
    """Return layers as options have them."""
    return tuple(layer) if isinstance(layer, Sequence) and not isinstance(layer, str) else layer
