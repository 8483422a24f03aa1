"""Patch features drawn: their principal components as colours, and the similarity to one of them.

Legend: h x w patches, D hidden.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, TypedDict

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from beit.errors import ConfigError
from beit.geometry import Grid
from beit.image import AnyPicture
from beit.image.patch_colours import Map, PatchColours, enlarged, fit_colours, similarity
from beit.inference.runners.loaded import LoadedModel
from beit.inference.runners.torch_runner import TorchRunner
from beit.inference.tasks.drawing import PNG, heat_overlay, png_text
from beit.inference.tasks.folder import AMONG, contents_of, pictures_in
from beit.inference.tasks.layers import LayerOptions
from beit.inference.tasks.options import Local, Place, as_place
from beit.inference.tasks.task import PredictorTask, Tab


@dataclass(frozen=True)
class PatchOptions(LayerOptions):
    """Options of drawn features.

    Attributes:
        patch: The (row, col) to which the others are compared; None: none.
        foreground: Whether to colour the foreground alone, by a second PCA of its patches.
        among: Folder of pictures whose patches share one PCA; None: each picture has its own.

    Raises:
        ConfigError: If more than one layer is asked for.
    """

    patch: Annotated[Place | None, "Row and column of the patch to which all others are compared; default: none."] = (
        None
    )
    foreground: Annotated[bool, "Colour the foreground alone, by a second PCA of its patches."] = False
    among: Annotated[str | None, Local, AMONG] = None

    def __post_init__(self) -> None:
        """Bring the patch into one form, and check that there is one layer."""
        object.__setattr__(self, "patch", as_place("patch", self.patch))
        super().__post_init__()
        if self.several:
            raise ConfigError(f"layer is {self.layer}; expected one: a picture has one PCA")
        if self.among is not None:
            object.__setattr__(self, "among", str(self.among))

    def number(self, model: LoadedModel) -> int:
        """Return the layer, counted from 1; by default the best one where one was measured, else the last.

        Raises:
            ConfigError: If the model has no such layer, or no best one was measured.
        """
        measured = model.features_file is not None
        asked = replace(self, layer="best") if self.layer is None and measured else self
        return asked.numbers(model)[0]


@dataclass(frozen=True)
class PatchFeatures:
    """Features of the patches of a picture, drawn.

    Attributes:
        picture: What the model sees of it.
        colours: (h, w, 3), uint8: the first three principal components of every patch as red, green and blue.
        shares: Shares of the variance of these components, in [0, 1].
        layer: The layer, counted from 1.
        layers: Layers of the model.
        patch: The (row, col) to which the others are compared; None: none.
        similarities: (h, w), float32: cosine similarities to that patch; None without one.
    """

    picture: Image.Image
    colours: NDArray[np.uint8]
    shares: tuple[float, ...]
    layer: int
    layers: int
    patch: Place | None = None
    similarities: NDArray[np.float32] | None = None

    def to_json(self) -> dict[str, Any]:
        """Return {"rows", "cols", "layer", "shares", "colours", "patch", "similarities"}, patches row by row."""
        rows, cols, _ = self.colours.shape
        return {
            "rows": rows,
            "cols": cols,
            "layer": self.layer,
            "shares": list(self.shares),
            "colours": self.colours.reshape(-1, 3).tolist(),
            "patch": None if self.patch is None else list(self.patch),
            "similarities": None if self.similarities is None else self.similarities.ravel().tolist(),
        }

    def colour_image(self) -> Image.Image:
        """Return the colours in the size of the picture."""
        return enlarged(self.colours, self.picture.size)

    def similarity_image(self) -> Image.Image:
        """Return the picture under a heat map of the similarities, from the smallest to the largest.

        Raises:
            ConfigError: If no patch was named.
        """
        if self.similarities is None:
            raise ConfigError("patch is None, so that nothing is compared to it; expected the (row, col) of one")
        return heat_overlay(self.picture, self.similarities - self.similarities.min())

    def show(self) -> None:
        """Open the colours."""
        self.colour_image().show()


class FeaturesAnswer(TypedDict):
    """Features of the patches of a picture."""

    rows: int
    cols: int
    layer: Annotated[int, "Counted from 1."]
    layers: Annotated[int, "Layers of the model."]
    shares: Annotated[list[float], "Shares of the variance that the three components have, 0 to 1."]
    picture_png: Annotated[str, f"{PNG} of what the model sees."]
    colours_png: Annotated[str, f"{PNG} with one pixel per patch: the components as red, green and blue."]
    patch: Annotated[Place | None, "The [row, col] to which the others are compared."]
    similarities: Annotated[list[float] | None, "Cosine similarities to it, row by row, -1 to 1."]


class DrawFeatures(PredictorTask[PatchOptions, PatchFeatures]):
    """Draw the features of patches."""

    name = "features"
    action = "draw features"
    about = "Draw the features of patches: principal components as colours, and similarities to one patch."
    options = PatchOptions
    answer_type = FeaturesAnswer
    answer_example: Mapping[str, Any] = {
        "rows": 1,
        "cols": 2,
        "layer": 9,
        "layers": 12,
        "shares": [0.4, 0.2, 0.1],
        "picture_png": "iVBORw0KGgo...",
        "colours_png": "iVBORw0KGgo...",
        "patch": [0, 1],
        "similarities": [0.3, 1.0],
    }
    request_example: Mapping[str, Any] = {"layer": "9", "patch": "3,4"}
    formats = ("jsonl", "pictures")
    tab = Tab("Features", "no loaded model gives the features of its patches.")

    def possible(self, model: LoadedModel) -> bool:
        """Return whether a model gives the features of its patches: every torch model does."""
        return isinstance(model.runner, TorchRunner)

    def results(
        self, model: LoadedModel, prepared: Sequence[Any], options: Sequence[PatchOptions]
    ) -> list[PatchFeatures]:
        """Return the features of pictures, each computed for itself."""
        return [self._result(model, picture, asked) for picture, asked in zip(prepared, options, strict=True)]

    def answer(self, result: PatchFeatures) -> FeaturesAnswer:
        """Return the colours and similarities, and the picture they belong to."""
        rows, cols, _ = result.colours.shape
        return {
            "rows": rows,
            "cols": cols,
            "layer": result.layer,
            "layers": result.layers,
            "shares": list(result.shares),
            "picture_png": png_text(result.picture),
            "colours_png": png_text(Image.fromarray(result.colours)),
            "patch": result.patch,
            "similarities": None if result.similarities is None else result.similarities.ravel().tolist(),
        }

    def contents(self, options: PatchOptions) -> Iterator[str]:
        """Return the path and size of every picture of the folder."""
        return iter(()) if options.among is None else contents_of(options.among)

    def drawings(self, result: PatchFeatures) -> dict[str, Image.Image]:
        """Return the picture, the colours, and the similarities if a patch was named."""
        compared = {} if result.patch is None else {"similarity": result.similarity_image()}
        return {"picture": result.picture, "pca": result.colour_image(), **compared}

    def _result(self, model: LoadedModel, picture: AnyPicture, asked: PatchOptions) -> PatchFeatures:
        layer, place = asked.number(model), asked.patch
        if place is not None:
            _check_patch(place, asked.grid(model))
        map_hwD = _map(model, picture, asked, layer)
        colours = self._shared(model, asked, layer) if asked.among is not None else None
        if colours is None:
            colours = fit_colours(lambda: (map_hwD,), asked.foreground)
        return PatchFeatures(
            asked.view(model).crop(picture),
            colours(map_hwD),
            tuple(colours.axes.shares_C.tolist()),
            layer,
            model.config.num_hidden_layers,
            place,
            None if place is None else similarity(map_hwD, *place),
        )

    def _shared(self, model: LoadedModel, asked: PatchOptions, layer: int) -> PatchColours:
        """Return the colours that the pictures of a folder share, fitted when the first is drawn."""
        folder = asked.among or ""

        def maps() -> Iterator[Map]:
            for _, picture in pictures_in(folder, model.preprocessing.bands):
                yield _map(model, picture, asked, layer)

        key = self.name, replace(asked, patch=None), layer
        return model.once(key, lambda: fit_colours(maps, asked.foreground))


def _map(model: LoadedModel, picture: AnyPicture, asked: PatchOptions, layer: int) -> Map:
    """Return the features of the patches of a picture (h, w, D)."""
    return model.features(asked.view(model)(picture)[None], (layer,), "none")[0][0]


def _check_patch(patch: Place, grid: Grid) -> None:
    """Refuse a patch that the grid does not have."""
    if not (0 <= patch[0] < grid.height and 0 <= patch[1] < grid.width):
        raise ConfigError(
            f"patch is {patch}; expected a row of 0 to {grid.height - 1} and a column of 0 to {grid.width - 1}"
        )
