"""Reconstruction: hidden patches of a picture, painted from the visual tokens that a model predicts.

Legend: rows and cols count patches.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, TypedDict, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from beit.errors import ConfigError
from beit.geometry import Grid, block_masks
from beit.inference.runners.loaded import LoadedModel
from beit.inference.runners.torch_runner import is_pretraining
from beit.inference.tasks.drawing import PNG, png_text, side_by_side
from beit.inference.tasks.options import Limits, Place, TaskOptions, as_place
from beit.inference.tasks.task import PredictorTask, Tab

if TYPE_CHECKING:
    from beit.inference.runners.reconstruction import Reconstructor

_SMALLEST_BLOCK = 16  # patches, as in pre-training (arXiv 2106.08254, section 2.3)


@dataclass(frozen=True)
class ReconstructOptions(TaskOptions):
    """Options of a reconstruction.

    Attributes:
        mask: The (row, col) of the patches to hide; None: blocks as in pre-training.
        share: How much of a picture those blocks hide at most.
        seed: Of those blocks.
    """

    mask: Annotated[
        tuple[Place, ...] | None, "List of the [row, col] of patches to hide; default: blocks as in pre-training."
    ] = None
    share: Annotated[float, Limits(above=0, most=1), "How much of a picture those blocks hide at most."] = 0.4
    seed: Annotated[int, Limits(least=0), "Seed of those blocks."] = 0

    def __post_init__(self) -> None:
        """Bring the places into one form, and check everything."""
        if self.mask is not None:
            object.__setattr__(self, "mask", tuple(as_place("a place of mask", place) for place in self.mask))
        super().__post_init__()

    def hidden(self, grid: Grid) -> NDArray[np.bool_]:
        """Return the mask (rows, cols), True = hidden.

        Raises:
            ConfigError: If the grid has no such patch, or is too small for a block.
        """
        if self.mask is None:
            count = max(1, round(self.share * grid.patches))
            return block_masks(grid, count, np.random.default_rng(self.seed), min_block=min(_SMALLEST_BLOCK, count))[0]
        mask = np.zeros(grid, dtype=bool)
        for row, col in self.mask:
            if not (0 <= row < grid.height and 0 <= col < grid.width):
                raise ConfigError(
                    f"mask has [{row}, {col}]; expected rows below {grid.height} and columns below {grid.width}"
                )
            mask[row, col] = True
        return mask


@dataclass(frozen=True)
class Reconstruction:
    """Hidden patches of a picture, as a pre-trained model and a tokenizer's decoder reconstruct them.

    Attributes:
        picture: What the model would see without a mask.
        mask: (rows, cols), bool; True = hidden from the model.
        masked: The picture with hidden patches in grey.
        reconstruction: Decoded from the tokens that the model predicts for hidden patches, and the tokenizer's own
            tokens of the others.
    """

    picture: Image.Image
    mask: NDArray[np.bool_]
    masked: Image.Image
    reconstruction: Image.Image

    def to_json(self) -> dict[str, Any]:
        """Return {"rows", "cols", "mask": [[row, col] of every hidden patch]}."""
        rows, cols = self.mask.shape
        return {"rows": rows, "cols": cols, "mask": np.argwhere(self.mask).tolist()}

    def side_by_side(self) -> Image.Image:
        """Return the picture, what is left of it, and the reconstruction."""
        return side_by_side([self.picture, self.masked, self.reconstruction])

    def show(self) -> None:
        """Open the three pictures beside each other."""
        self.side_by_side().show()


class ReconstructAnswer(TypedDict):
    """Hidden patches, reconstructed."""

    rows: int
    cols: int
    mask: Annotated[list[Place], "The [row, col] of every hidden patch."]
    picture_png: Annotated[str, f"{PNG} of what the model would see without a mask."]
    masked_png: Annotated[str, f"{PNG} of what it sees."]
    reconstruction_png: Annotated[str, f"{PNG} of what it makes of it."]


class Reconstruct(PredictorTask[ReconstructOptions, Reconstruction]):
    """Paint hidden patches."""

    name = "reconstruct"
    about = "Hide patches of a picture, and show what the model makes of them."
    options = ReconstructOptions
    answer_type = ReconstructAnswer
    answer_example: Mapping[str, Any] = {
        "rows": 14,
        "cols": 14,
        "mask": [[3, 4], [3, 5]],
        "picture_png": "iVBORw0KGgo...",
        "masked_png": "iVBORw0KGgo...",
        "reconstruction_png": "iVBORw0KGgo...",
    }
    request_example: Mapping[str, Any] = {"mask": "[[3, 4], [3, 5]]"}
    formats = ("pictures",)
    tab = Tab("Reconstruct", "no loaded model was pre-trained and has its tokenizer.")

    def possible(self, model: LoadedModel) -> bool:
        """Return whether a model has a tokenizer that paints pixels."""
        return model.reconstructor is not None

    def remedy(self, model: LoadedModel) -> str:
        """Return that a pre-training model lacks its tokenizer."""
        if not is_pretraining(model.runner):
            return ""
        return "no tokenizer is given; pass tokenizer=... (--tokenizer) with the one it was trained with; "

    def results(
        self, model: LoadedModel, prepared: Sequence[Any], options: Sequence[ReconstructOptions]
    ) -> list[Reconstruction]:
        """Return the reconstructions of pictures, each computed for itself."""
        reconstruct = cast("Reconstructor", model.reconstructor)  # else the task is not possible
        found: list[Reconstruction] = []
        for picture, asked in zip(prepared, options, strict=True):
            mask = asked.hidden(model.grid)
            seen, masked, painted = reconstruct(picture, mask)
            found.append(Reconstruction(seen, mask, masked, painted))
        return found

    def answer(self, result: Reconstruction) -> ReconstructAnswer:
        """Return the three pictures, and what was hidden."""
        rows, cols = result.mask.shape
        return {
            "rows": rows,
            "cols": cols,
            "mask": _places(result.mask),
            "picture_png": png_text(result.picture),
            "masked_png": png_text(result.masked),
            "reconstruction_png": png_text(result.reconstruction),
        }

    def drawings(self, result: Reconstruction) -> dict[str, Image.Image]:
        """Return the three pictures."""
        return {"picture": result.picture, "masked": result.masked, "reconstruction": result.reconstruction}


def hidden_places(mask: NDArray[np.bool_], grid: Grid) -> tuple[Place, ...]:
    """Return the (row, col) of the patches that a mask hides.

    Raises:
        ConfigError: If it has another shape than the grid, or other values than true and false.
    """
    array = np.asarray(mask)
    if array.shape != tuple(grid):
        raise ConfigError(
            f"the mask has shape {array.shape}; expected {tuple(grid)}, one value for every patch of the model's grid"
        )
    if array.dtype != bool:
        raise ConfigError(f"the mask is of {array.dtype}; expected bool, True = hidden: convert it with .astype(bool)")
    return tuple(_places(array))


def _places(mask: NDArray[np.bool_]) -> list[Place]:
    return [(row, col) for row, col in np.argwhere(mask).tolist()]
