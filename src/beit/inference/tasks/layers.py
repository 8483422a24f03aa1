"""Layers of a model whose features are asked for, and how a picture's patches become one vector."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from numbers import Integral
from typing import Annotated, Any, Literal

from beit.config import check_divisible
from beit.errors import ConfigError
from beit.geometry import Grid, patch_grid
from beit.image import Preprocessing
from beit.inference.runners.loaded import LoadedModel
from beit.inference.tasks.options import Layers, Local, Place, TaskOptions

Pooling = Literal["auto", "mean", "cls", "attentive", "none"]
_POOLINGS = ("auto", "mean", "cls", "attentive", "none")
_NAMES = ("best", "last")
_EXPECTED = "a number from 1, best, last, or several of them, such as 3,6,best"


@dataclass(frozen=True)
class LayerOptions(TaskOptions):
    """Options of tasks that read hidden states.

    Attributes:
        layer: Counted from 1, or from the end: -1 is the last; "best": the one that the quality monitor of the
            pre-training measured; "last"; or several of these. None: the default of the task.
        size: (height, width) in pixels to which the whole picture is resized; None: what the model is always shown.

    Raises:
        ConfigError: If a layer is none of these.
    """

    layer: Annotated[
        Layers,
        "Layer, counted from 1; best: the one that the pre-training's monitor measured; last; or several: 3,6,9.",
    ] = None
    size: Annotated[
        Place | None,
        Local,
        "Height and width to which whole pictures are resized; default: what the model always sees.",
    ] = None

    def __post_init__(self) -> None:
        """Bring the layers into one form, and check everything."""
        object.__setattr__(self, "layer", _asked(self.layer))
        if self.size is not None:
            object.__setattr__(self, "size", _height_and_width(self.size))
        super().__post_init__()

    @property
    def several(self) -> bool:
        """True if more than one layer is asked for."""
        return isinstance(self.layer, tuple) and len(self.layer) > 1

    def numbers(self, model: LoadedModel) -> tuple[int, ...]:
        """Return the layers that are asked for, counted from 1; the last where none is.

        Raises:
            ConfigError: If the model has no such layer, or no best one was measured.
        """
        model.with_layers()
        asked = self.layer if isinstance(self.layer, tuple) else ("last",)
        return tuple(_number(layer, model) for layer in asked)

    def view(self, model: LoadedModel) -> Preprocessing:
        """Return the preprocessing of pictures.

        Raises:
            ConfigError: If patches do not tile the size.
        """
        if self.size is None:
            return model.preprocessing
        check_divisible(self.size, model.config.patch_hw)
        return replace(model.preprocessing, image_hw=self.size, resize=self.size)

    def grid(self, model: LoadedModel) -> Grid:
        """Return the patch grid of these pictures."""
        return model.grid if self.size is None else patch_grid(self.size, model.config.patch_size)


@dataclass(frozen=True)
class FeatureOptions(LayerOptions):
    """Options of tasks that make vectors of hidden states.

    Attributes:
        pooling: "mean" of the patches; "cls", the [CLS] token; "attentive", the mean of the patches weighted by the
            attention of [CLS] in that layer; "none" or None, every patch. "auto": what the model's head reads, or with
            a layer "mean".

    Raises:
        ConfigError: If there is no such pooling.
    """

    pooling: Annotated[
        Pooling | None,
        "One vector of all patches: their mean, the [CLS] token, or their mean weighted by the attention of [CLS]; "
        "none: every patch; auto: what the model's head reads, with a layer the mean.",
    ] = "auto"

    def __post_init__(self) -> None:
        """Check the pooling too."""
        if self.pooling is None:
            object.__setattr__(self, "pooling", "none")
        if self.pooling not in _POOLINGS:
            raise ConfigError(f"pooling is {self.pooling!r}; expected one of {', '.join(_POOLINGS)}")
        super().__post_init__()

    @property
    def own(self) -> bool:
        """True if the model's own embedding is asked for: what its head reads."""
        return self.layer is None and self.pooling == "auto"

    @property
    def pooled(self) -> Pooling:
        """The pooling of a layer."""
        return "mean" if self.pooling in (None, "auto") else self.pooling

    @property
    def dense(self) -> bool:
        """True if every patch is asked for."""
        return self.pooled == "none"


def _height_and_width(size: Any) -> Place:
    """Return two whole numbers above 0."""
    whole: Any = Integral  # also numpy's
    values = tuple(size) if isinstance(size, Sequence) else (size,)
    if len(values) != 2 or not all(isinstance(value, whole) and value > 0 for value in values):
        raise ConfigError(f"size is {size}; expected two whole numbers above 0, height and width, such as (224, 320)")
    return int(values[0]), int(values[1])


def _asked(layer: Any) -> tuple[int | str, ...] | None:
    """Return layers as a tuple of numbers and names; "3, best" and "[3, best]" are two."""
    if layer is None:
        return None
    if isinstance(layer, str):
        layer = [part.strip() for part in layer.strip("[] ").split(",")]
    several = tuple(layer) if isinstance(layer, Sequence) else (layer,)
    if not several:
        raise ConfigError(f"layer is {layer!r}; expected {_EXPECTED}")
    return tuple(_one(part) for part in several)


def _one(part: Any) -> int | str:
    if isinstance(part, str) and part in _NAMES:
        return part
    if isinstance(part, Integral):
        return int(part)
    if isinstance(part, str) and part.removeprefix("-").isdecimal():
        return int(part)
    raise ConfigError(f"layer is {part!r}; expected {_EXPECTED}")


def _number(layer: int | str, model: LoadedModel) -> int:
    """Return a layer of a model, counted from 1."""
    layers = model.config.num_hidden_layers
    if layer == "best":
        return model.best_layer()
    number = layers if layer == "last" else int(layer)
    if number < 0:
        number += layers + 1
    if not 1 <= number <= layers:
        raise ConfigError(f"layer is {layer}; expected 1 to {layers}, -{layers} to -1 from the end, best or last")
    return number
