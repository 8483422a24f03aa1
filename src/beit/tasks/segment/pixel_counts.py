"""Pixels of each class in the label maps of a training, counted before the first step, and the class weights of them.

Legend: K classes.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import repeat

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from torch import Tensor

from beit.data import ImageSource, Scene, spread
from beit.errors import ConfigError, DataError
from beit.image import IGNORED
from beit.image.cpus import cpu_share
from beit.settings.segment import SegmentJob


@dataclass(frozen=True)
class PixelCounts:
    """Counts over the label maps that were read.

    Attributes:
        classes: Names.
        pixels_K: Pixels of each class.
        ignored: Pixels of none.
        label_maps: How many were read.
    """

    classes: list[str]
    pixels_K: NDArray[np.int64]
    ignored: int
    label_maps: int

    def table(self) -> list[list[str]]:
        """Return rows for reading: class, pixels, share of those that have a class."""
        total = max(1, int(self.pixels_K.sum()))
        counts = zip(self.classes, self.pixels_K.tolist(), strict=True)
        rows = [[name, f"{pixels:,}", f"{pixels / total:.2%}"] for name, pixels in counts]
        return [*rows, ["(none)", f"{self.ignored:,}", ""]]

    def __str__(self) -> str:
        """Return a line for each class."""
        rows = self.table()
        width = max(len(row[0]) for row in rows)
        lines = [f"  {name:<{width}}  {pixels:>15}  {share:>7}" for name, pixels, share in rows]
        return "\n".join([f"pixels in {self.label_maps:,} label maps:", *lines])


def count_pixels(
    source: ImageSource, most: int | None, visible: bool = False, every_class: bool = False
) -> PixelCounts:
    """Read label maps, and count the pixels of each class.

    Args:
        source: Scenes.
        most: Label maps to read, at even distances; None: all. Where they lack what is needed, all are read too.
        visible: Whether to show the progress.
        every_class: Whether every class is needed rather than two, because they are weighed by their pixels.

    Raises:
        DataError: Naming the first label map of another size than its picture, or with what stands for no class, and
            how many others there are; or that there is one class at most.
    """
    some = source if most is None else spread(source, most)
    names = list(source.classes or ())
    counts, wrong = np.zeros(IGNORED + 1, np.int64), list[str]()
    with ThreadPoolExecutor(cpu_share()) as pool:
        found = pool.map(_counted, repeat(some), range(len(some)))
        for result in track(found, "reading label maps", len(some), console=Console(stderr=True), disable=not visible):
            if isinstance(result, str):
                wrong.append(result)
            else:
                counts += result
    if wrong:
        more = f" ({len(wrong) - 1} more of {len(some)} label maps are wrong)" if len(wrong) > 1 else ""
        raise DataError(wrong[0] + more)
    pixels_K = counts[: len(names)]
    if (pixels_K > 0).sum() < (len(names) if every_class else 2) and len(some) < len(source):
        return count_pixels(source, None, visible)
    if (pixels_K > 0).sum() < 2:
        present = [name for name, pixels in zip(names, pixels_K.tolist(), strict=True) if pixels]
        none = int(counts[IGNORED])
        remedy = (
            f": {none:,} pixels have no class; if numbers such as 255 stand for one, write so in label_maps.mapping, "
            "such as {0: 0, 255: 1}"
            if none
            else ""
        )
        raise DataError(
            f"the label maps have {len(present)} class{'es' * (not present)} {present}; expected 2 or more{remedy}"
        )
    return PixelCounts(names, pixels_K, int(counts[IGNORED]), len(some))


def _counted(source: ImageSource, index: int) -> NDArray[np.int64] | str:
    """Return the pixels of each class in a label map, or what is wrong with it; a broken picture is left to the run."""
    try:
        scene = source.open(index)
    except DataError:
        return np.zeros(IGNORED + 1, np.int64)
    assert isinstance(scene, Scene)  # noqa: S101  # for the type checker
    try:
        return np.bincount(scene.label_map().ravel(), minlength=IGNORED + 1)
    except DataError as error:
        return str(error)


def check_weights(job: SegmentJob, classes: int) -> None:
    """Refuse weights for other classes.

    Raises:
        ConfigError: Naming them.
    """
    weights = job.class_weights
    if isinstance(weights, tuple) and (len(weights) != classes or min(weights) < 0):
        raise ConfigError(
            f"class_weights has {len(weights)} numbers, {list(weights[:5])}; expected one for each of the {classes} "
            "classes, none below 0"
        )


def class_weights(job: SegmentJob, counts: PixelCounts | None) -> Tensor | None:
    """Return the factors (K,) on the loss of each class, or None for none; balanced ones are 1 for the mean pixel."""
    if job.class_weights is None:
        return None
    if job.class_weights != "balanced":
        return torch.tensor(job.class_weights)
    if counts is None:
        return None
    pixels_K = counts.pixels_K.astype(np.float64)
    weights_K = np.where(pixels_K > 0, 1 / np.sqrt(np.maximum(pixels_K, 1)), 0)
    return torch.from_numpy(weights_K * pixels_K.sum() / (weights_K * pixels_K).sum()).float()
