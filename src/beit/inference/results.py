"""What a predictor answers.

Legend: D hidden, H x W pixels; rows and cols count patches.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from beit.errors import ConfigError
from beit.image.heat import heat_overlay
from beit.image.palette import coloured, indexed, legend, overlaid


@dataclass(frozen=True)
class Classification:
    """The most likely classes of a picture, best first.

    Attributes:
        labels: Class names.
        probabilities: Their probabilities, in [0, 1].
    """

    labels: list[str]
    probabilities: list[float]

    @property
    def label(self) -> str:
        """The most likely class."""
        return self.labels[0]

    def to_json(self) -> dict[str, Any]:
        """Return {"predictions": [{"label", "probability"}, ...]}."""
        pairs = zip(self.labels, self.probabilities, strict=True)
        return {"predictions": [{"label": label, "probability": probability} for label, probability in pairs]}

    def show(self) -> None:
        """Print a line per class."""
        for label, probability in zip(self.labels, self.probabilities, strict=True):
            print(f"{probability:6.1%}  {label}")  # noqa: T201  # what it is for


@dataclass(frozen=True)
class Segmentation:
    """The class of every pixel of a picture.

    Attributes:
        labels: (H, W), int64, the number of each pixel's class.
        classes: Names of all classes.
        picture: The picture.
    """

    labels: NDArray[np.int64]
    classes: list[str]
    picture: Image.Image

    @property
    def shares(self) -> dict[str, float]:
        """Share of the picture that each class has, in [0, 1], the largest first; those it has not are left out."""
        counts = np.bincount(self.labels.ravel(), minlength=len(self.classes))
        order = [int(index) for index in np.argsort(-counts, kind="stable") if counts[index]]
        return {self.classes[index]: float(counts[index] / self.labels.size) for index in order}

    def to_json(self) -> dict[str, Any]:
        """Return {"height", "width", "shares": {class: share}}."""
        height, width = self.labels.shape
        return {"height": height, "width": width, "shares": self.shares}

    def show(self) -> None:
        """Open the picture under the colours of its classes."""
        self.overlay().show()

    def index_image(self) -> Image.Image:
        """Return the numbers as a picture of 8 bits with a palette.

        Raises:
            ConfigError: If there are more than 255 classes.
        """
        return indexed(self.labels, len(self.classes))

    def colour_image(self) -> Image.Image:
        """Return the classes in colours, with a legend on the right.

        Raises:
            ConfigError: If there are more than 255 classes.
        """
        return self._with_legend(coloured(self.labels, len(self.classes)))

    def overlay(self, opacity: float = 0.5) -> Image.Image:
        """Return the picture under the colours of its classes, with a legend on the right.

        Raises:
            ConfigError: If there are more than 255 classes.
        """
        return self._with_legend(overlaid(self.picture, self.labels, len(self.classes), opacity))

    def _with_legend(self, image: Image.Image) -> Image.Image:
        return _side_by_side([image, legend(self.classes, sorted(set(self.labels.ravel().tolist())))])


@dataclass(frozen=True)
class Embedding:
    """A picture as one vector.

    Attributes:
        vector: (D,), float32: the pooled features of the model's last layer.
    """

    vector: NDArray[np.float32]

    def to_json(self) -> dict[str, Any]:
        """Return {"embedding": [...]}."""
        return {"embedding": self.vector.tolist()}

    def show(self) -> None:
        """Print its length, and its first numbers."""
        print(f"{len(self.vector)} numbers: {self.vector[:5].tolist()}...")  # noqa: T201  # what it is for


@dataclass(frozen=True)
class Reconstruction:
    """What a pre-trained model and a tokenizer's decoder make of the hidden patches of a picture.

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
        return _side_by_side([self.picture, self.masked, self.reconstruction])

    def show(self) -> None:
        """Open the three pictures beside each other."""
        self.side_by_side().show()


@dataclass(frozen=True)
class Attention:
    """Where a layer looks.

    Attributes:
        picture: What the model sees.
        maps: (heads, rows, cols), float32: how much of its attention each head gives to every patch. They sum to less
            than 1: the rest is for [CLS].
        patch: The (row, col) that looks; None: [CLS].
    """

    picture: Image.Image
    maps: NDArray[np.float32]
    patch: tuple[int, int] | None = None

    def to_json(self) -> dict[str, Any]:
        """Return {"rows", "cols", "maps": [rows * cols numbers of each head], "patch": [row, col] or None}."""
        heads, rows, cols = self.maps.shape
        patch = None if self.patch is None else list(self.patch)
        return {"rows": rows, "cols": cols, "maps": self.maps.reshape(heads, -1).tolist(), "patch": patch}

    def overlay(self, head: int | None = None) -> Image.Image:
        """Return the picture under the heat map of one head, or of the mean of all.

        Raises:
            ConfigError: If there is no such head.
        """
        if head is not None and not 0 <= head < len(self.maps):
            raise ConfigError(f"head is {head}; expected 0 to {len(self.maps) - 1}, or None for the mean of all")
        return heat_overlay(self.picture, self.maps.mean(axis=0) if head is None else self.maps[head])

    def show(self) -> None:
        """Open the picture under the mean of all heads."""
        self.overlay().show()


Result = Classification | Segmentation | Embedding | Reconstruction | Attention


def _side_by_side(images: list[Image.Image]) -> Image.Image:
    whole = Image.new("RGB", (sum(image.width for image in images), max(image.height for image in images)), "white")
    left = 0
    for image in images:
        whole.paste(image, (left, 0))
        left += image.width
    return whole
