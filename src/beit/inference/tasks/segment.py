"""Semantic segmentation: the class of every pixel of a picture of any size.

Legend: H x W pixels, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypedDict

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from beit.errors import ConfigError
from beit.image import as_rgb
from beit.image.labels import IGNORED
from beit.image.palette import coloured, indexed, legend, overlaid, palette
from beit.inference.runners.loaded import LoadedModel
from beit.inference.tasks.classify import no_classes
from beit.inference.tasks.drawing import PNG, png_text, side_by_side
from beit.inference.tasks.options import TaskOptions
from beit.inference.tasks.task import ExportedOutput, PredictorTask, Tab

_OPACITY = 128  # of the service's overlay, of 255


@dataclass(frozen=True)
class Segmentation:
    """The class of every pixel of a picture.

    Attributes:
        labels: (H, W), int64, the number of each pixel's class.
        classes: Names of all classes.
        picture: The picture, as RGB.
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
        return side_by_side([image, legend(self.classes, sorted(set(self.labels.ravel().tolist())))])


class ClassShare(TypedDict):
    """A class of a segmented picture."""

    name: str
    colour: Annotated[str, "#rrggbb, as in the overlay."]
    share: Annotated[float, "How much of the picture it has, 0 to 1."]


class SegmentAnswer(TypedDict):
    """The class of every pixel."""

    height: int
    width: int
    classes: Annotated[list[ClassShare], "All classes, by number."]
    labels_png: Annotated[str, f"{PNG} of 8-bit grey: the number of each pixel's class."]
    overlay_rgba_png: Annotated[str, f"{PNG} of the classes' colours, half transparent."]


class Segment(PredictorTask[TaskOptions, Segmentation]):
    """Find the class of every pixel."""

    name = "segment"
    about = "Find the class of every pixel of a picture of any size."
    options = TaskOptions
    answer_type = SegmentAnswer
    answer_example: Mapping[str, Any] = {
        "height": 480,
        "width": 640,
        "classes": [{"name": "road", "colour": "#800000", "share": 0.41}],
        "labels_png": "iVBORw0KGgo...",
        "overlay_rgba_png": "iVBORw0KGgo...",
    }
    formats = ("jsonl", "csv", "parquet", "pictures")
    names_classes = True
    tab = Tab("Segment", "no loaded model has classes for pixels.")
    exported = ExportedOutput(
        "logits",
        "the scores of the classes at every place of a smaller map, (pictures, classes, rows, columns)",
        scores=True,
        windows=True,
    )

    def possible(self, model: LoadedModel) -> bool:
        """Return whether a model has classes for pixels."""
        return model.runner.task == self.name

    def remedy(self, model: LoadedModel) -> str:
        """Return the way to get classes."""
        return no_classes(model, "beit segment")

    def work(self, model: LoadedModel, height: int, width: int) -> tuple[int, int]:
        """Return the windows of a picture, and the scores of every class for every pixel."""
        windows = 1 if model.scene is None else model.scene.windows_of(height, width)
        return windows, height * width * model.config.num_labels

    def results(
        self, model: LoadedModel, prepared: Sequence[Any], options: Sequence[TaskOptions]
    ) -> list[Segmentation]:
        """Return the classes of pictures, each computed for itself."""
        from beit.inference.runners.scenes import segment

        if model.scene is None:
            raise ConfigError("the predictor has no scene inference; expected one: use Predictor.from_pretrained")
        names = model.config.distinct_class_names
        return [
            Segmentation(segment(model.runner, picture, model.scene), names, as_rgb(picture)) for picture in prepared
        ]

    def answer(self, result: Segmentation) -> SegmentAnswer:
        """Return all classes with their shares, their numbers and their colours.

        Raises:
            ConfigError: If there are more classes than 8 bits distinguish.
        """
        labels_HW, count = result.labels, len(result.classes)
        shares_K = np.bincount(labels_HW.ravel(), minlength=count)[:count] / labels_HW.size
        overlay = coloured(labels_HW, count)
        overlay.putalpha(Image.fromarray(np.where(labels_HW == IGNORED, 0, _OPACITY).astype(np.uint8)))
        return {
            "height": labels_HW.shape[0],
            "width": labels_HW.shape[1],
            "classes": [
                {"name": name, "colour": "#{:02x}{:02x}{:02x}".format(*colour), "share": share}
                for name, colour, share in zip(result.classes, palette(count).tolist(), shares_K.tolist(), strict=True)
            ],
            "labels_png": png_text(Image.fromarray(labels_HW.astype(np.uint8))),
            "overlay_rgba_png": png_text(overlay),
        }

    def columns(self, model: LoadedModel, options: TaskOptions) -> list[str]:
        """Return the size, and a column for the share of every class."""
        return ["height", "width", *model.config.distinct_class_names]

    def cells(self, row: Mapping[str, Any], columns: Sequence[str]) -> list[Any]:
        """Return the size and the shares, 0 of a class that the picture has not."""
        return [row["height"], row["width"], *(row["shares"].get(name, 0.0) for name in columns[2:])]

    def parquet_fields(self, arrow: Any, options: TaskOptions) -> list[tuple[str, Any]]:
        """Return the size, and a map of shares."""
        shares = arrow.map_(arrow.string(), arrow.float64())
        return [("height", arrow.int32()), ("width", arrow.int32()), ("shares", shares)]

    def drawings(self, result: Segmentation) -> dict[str, Image.Image]:
        """Return the numbers, the colours, and the colours over the picture."""
        return {"index": result.index_image(), "colour": result.colour_image(), "overlay": result.overlay()}
