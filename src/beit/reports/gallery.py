"""Gallery of a run: a row of pictures for every look at the model, kept as PNG files.

Legend: B pictures, C channels, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Protocol

from PIL import Image
from torch import Tensor

from beit.files import atomic_file, discard_leftovers
from beit.image import explained, opened_picture
from beit.reports.report import Figure, Section, picture_figure, to_image

_SIDE = 128  # a picture of a row, about
_GAP = 4  # white pixels between two pictures of a row
_ABOVE = {"picture": "picture", "seen": "seen by the model"}
_BELOW = {"true_tokens": "decoded from its true tokens"}
TEXT = (
    "Every column is a held-out picture, with the same mask all along. From top to bottom: the picture as the "
    "tokenizer sees it; what the model saw of it; the decoding of the tokens that the model predicts for the hidden "
    "patches, beside the true tokens of the visible ones, after the named step; and the decoding of all true tokens, "
    "the best that a prediction can look."
)


class Scene(Protocol):
    """Pictures of a gallery. Rows are (B, C, H, W) in [0, 1]."""

    @property
    def fixed(self) -> dict[str, Tensor]:
        """Rows that stay the same: "picture", "seen" and "true_tokens"."""
        ...

    @property
    def names(self) -> list[str]:
        """Names of the files of the pictures."""
        ...

    def predicted(self) -> Tensor:
        """Return the row of the model's predictions; the model is left in evaluation mode."""
        ...


class Gallery:
    """Gallery of a run: rows of pictures, one file each.

    Args:
        folder: `pictures/` of the run folder.
        scene: Makes the scene, called once.
    """

    def __init__(self, folder: Path, scene: Callable[[], Scene]) -> None:
        self.folder, self._make_scene = folder, scene

    @cached_property
    def _scene(self) -> Scene:
        return self._make_scene()

    def begin(self, step: int) -> None:
        """Draw the fixed rows, and drop the rows of a stopped run after `step`: they will be drawn again.

        Raises:
            DataError: If no held-out picture is usable.
            StorageError: If the disk is full.
        """
        discard_leftovers(self.folder)
        for path in self._steps():
            if _step(path) > step:
                path.unlink()
        for name, row_BCHW in self._scene.fixed.items():
            self._write(name, _row(row_BCHW))

    def add(self, step: int) -> Image.Image:
        """Draw, keep and return the predictions after `step` finished steps; the model is left in evaluation mode.

        Raises:
            StorageError: If the disk is full.
        """
        row = _row(self._scene.predicted())
        self._write(f"step_{step:08d}", row)
        return row

    def section(self) -> Section:
        """Return all rows, for a report."""
        rows = list(_ABOVE.items())
        rows += [(path.stem, f"predicted after step {_step(path):,}") for path in self._steps()]
        rows += _BELOW.items()
        strips: list[Figure] = []
        for name, caption in rows:
            with explained(self._path(name)), opened_picture(self._path(name)) as row:
                strips.append(picture_figure(row, caption))
        return Section("Reconstructions", f"{TEXT} {_named(self._scene.names)}", strips=strips)

    def _steps(self) -> Sequence[Path]:
        found = self.folder.glob("step_*.png")
        return sorted(path for path in found if path.stem.removeprefix("step_").isdecimal())

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.png"

    def _write(self, name: str, row: Image.Image) -> None:
        with atomic_file(self._path(name)) as temporary:
            row.save(temporary, format="PNG", optimize=True)


def scene_section(scene: Scene) -> Section:
    """Return a gallery of a model as it is, for a report without a run."""
    fixed = scene.fixed
    rows = {caption: fixed[name] for name, caption in _ABOVE.items()}
    rows["predicted"] = scene.predicted()
    rows |= {caption: fixed[name] for name, caption in _BELOW.items()}
    strips = [picture_figure(_row(row_BCHW), caption) for caption, row_BCHW in rows.items()]
    text = TEXT.replace(", after the named step", "")
    return Section("Reconstructions", f"{text} {_named(scene.names)}", strips=strips)


def _named(names: Sequence[str]) -> str:
    return f"From left to right: {', '.join(names)}."


def _row(pictures_BCHW: Tensor) -> Image.Image:
    """Return pictures side by side, small ones enlarged, large ones reduced."""
    shown = [to_image(picture_CHW) for picture_CHW in pictures_BCHW.float().cpu().numpy()]
    shown = [picture.reduce(max(1, round(max(picture.size) / _SIDE))) for picture in shown]
    width, height = shown[0].size
    row = Image.new("RGB", (len(shown) * (width + _GAP) - _GAP, height), "white")
    for number, picture in enumerate(shown):
        row.paste(picture, (number * (width + _GAP), 0))
    return row


def _step(path: Path) -> int:
    return int(path.stem.removeprefix("step_"))
