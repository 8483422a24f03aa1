"""From settings to scenes: pictures with masks, checked before the first step.

Legend: K classes.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from beit.data import CITYSCAPES, ImageSource, MaskIds, NamedClasses, Scene, SceneFolder, read_classes, split, spread
from beit.errors import ConfigError, DataError
from beit.image import IGNORED
from beit.training.inputs import Sources
from beit.training.segmentation.settings import LabelMapSettings, TrainingLabelMapSettings
from beit.training.settings import DataSettings


@dataclass(frozen=True)
class PixelCounts:
    """What is in the masks that were read.

    Attributes:
        classes: Names.
        pixels_K: Pixels of each class.
        ignored: Pixels of none.
        masks: How many were read.
    """

    classes: list[str]
    pixels_K: NDArray[np.int64]
    ignored: int
    masks: int

    def table(self) -> list[list[str]]:
        """Return rows for reading: class, pixels, share of those that have a class."""
        total = max(1, int(self.pixels_K.sum()))
        counts = zip(self.classes, self.pixels_K.tolist(), strict=True)
        rows = [[name, f"{pixels:,}", f"{pixels / total:.2%}"] for name, pixels in counts]
        return [*rows, ["(none)", f"{self.ignored:,}", ""]]


def open_scenes(data: DataSettings, masks: TrainingLabelMapSettings, seed: int) -> Sources:
    """Open the scenes of a training.

    Raises:
        ConfigError: If settings are missing, or do not apply to masks.
        DataError: If there are no pictures, or pictures without a mask.
    """
    if data.labels is not None or data.val_labels is not None or data.per_class is not None:
        raise ConfigError("data.labels, data.val_labels or data.per_class is set; masks tell the classes: leave it out")
    if (data.val_path is None) != (masks.val_path is None):
        raise ConfigError(
            f"data.val_path is {data.val_path} and masks.val_path {masks.val_path}; expected both, or neither"
        )
    if masks.classes is None:
        raise ConfigError("masks.classes is missing; name a text file with the name of each class, one per line")
    classes = read_classes(masks.classes)
    source = open_scene_folder(data.path, masks.path, data.min_side, masks, classes)
    if data.val_path is None:
        return Sources(*split(source, data.val_share, seed))
    return Sources(source, open_scene_folder(data.val_path, masks.val_path, data.min_side, masks, classes))


def open_scene_folder(
    pictures: str | None, masks: str | None, min_side: int, settings: LabelMapSettings, classes: NamedClasses
) -> SceneFolder:
    """Open the scenes of two folders.

    Raises:
        ConfigError: If a folder is missing, or numbers are mapped to classes that are not there.
        DataError: If there are no pictures, or pictures without a mask.
    """
    named = {"data.path": pictures, "masks.path": masks}
    missing = [name for name, value in named.items() if value is None]
    if pictures is None or masks is None:
        raise ConfigError(
            f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing; name a folder of pictures "
            "and one of masks"
        )
    for name, place in named.items():
        if not Path(str(place)).is_dir():
            raise DataError(f"{name} {place!r} is no folder; expected one of pictures, and one with a mask for each")
    mapping = CITYSCAPES if settings.mapping == "cityscapes" else settings.mapping
    wrong = [value for value in (mapping or {}).values() if not 0 <= value < len(classes.names)]
    if wrong:
        raise ConfigError(
            f"masks.mapping gives the class {wrong[0]}; expected 0 to {len(classes.names) - 1}, one of the "
            f"{len(classes.names)} classes"
        )
    ids = MaskIds(len(classes.names), settings.reduce, mapping, frozenset(settings.ignored), classes.colours)
    return SceneFolder(
        Path(pictures), Path(masks), classes.names, ids, settings.picture_suffix, settings.mask_suffix, min_side
    )


def count_pixels(source: ImageSource, most: int | None, visible: bool = False) -> PixelCounts:
    """Read masks, and count the pixels of each class.

    Args:
        source: Scenes.
        most: Masks to read, at even distances; None: all.
        visible: Whether to show the progress.

    Raises:
        DataError: Naming the first mask of another size than its picture, or with what stands for no class, and how
            many others there are; or that there is one class at most.
    """
    some = source if most is None else spread(source, most)
    names = list(source.classes or ())
    counts, wrong = np.zeros(IGNORED + 1, np.int64), list[str]()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = pool.map(_counted, repeat(some), range(len(some)))
        for result in track(found, "reading masks", len(some), console=Console(stderr=True), disable=not visible):
            if isinstance(result, str):
                wrong.append(result)
            else:
                counts += result
    if wrong:
        more = f" ({len(wrong) - 1} more of {len(some)} masks are wrong)" if len(wrong) > 1 else ""
        raise DataError(wrong[0] + more)
    pixels_K = counts[: len(names)]
    if (pixels_K > 0).sum() < 2:
        present = [name for name, pixels in zip(names, pixels_K.tolist(), strict=True) if pixels]
        raise DataError(f"the masks have {len(present)} class{'es' * (not present)} {present}; expected at least 2")
    return PixelCounts(names, pixels_K, int(counts[IGNORED]), len(some))


def _counted(source: ImageSource, index: int) -> NDArray[np.int64] | str:
    """Return the pixels of each class in one mask, or what is wrong with it; a broken picture is left to the run."""
    try:
        scene = source.open(index)
    except DataError:
        return np.zeros(IGNORED + 1, np.int64)
    assert isinstance(scene, Scene)  # noqa: S101  # for the type checker
    try:
        return np.bincount(scene.mask().ravel(), minlength=IGNORED + 1)
    except DataError as error:
        return str(error)
