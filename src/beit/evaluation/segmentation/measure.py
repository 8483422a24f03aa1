"""Measurement of a segmentation model on held-out scenes, and its report sections."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor

from beit.data import BrokenPicture, ImageSource, Scene, require_usable, spread
from beit.errors import DataError
from beit.evaluation.result import Speed
from beit.evaluation.segmentation.scores import SegmentationScores
from beit.image import IGNORED, as_rgb
from beit.image.palette import coloured, legend, overlaid
from beit.models_torch import BeitForSemanticSegmentation
from beit.models_torch.device import Precision, computing_in
from beit.models_torch.scene import SceneInference, segment_scene
from beit.reports.report import Figure, Section, numbers_table, picture_figure, showing
from beit.reports.units import percent

SHOWN = 8  # scenes in a report
_WIDTH = 320  # of a picture in it, in pixels


@dataclass(frozen=True)
class SceneScore:
    """Scores of one scene.

    Attributes:
        name: The scene.
        pixel_accuracy: Share of its pixels that are right.
        mean_iou: Mean over the classes that are there or predicted.
    """

    name: str
    pixel_accuracy: float
    mean_iou: float


@dataclass(frozen=True)
class MeasuredScenes:
    """Measurements over scenes.

    Attributes:
        scores: Agreement with the label maps.
        scenes: The same for each scene.
        speed: Scenes per second, through the model with its windows and scales, and over everything.
        broken: Scenes that were left out.
    """

    scores: SegmentationScores
    scenes: list[SceneScore]
    speed: Speed
    broken: list[BrokenPicture]


def measure_scenes(
    model: BeitForSemanticSegmentation,
    how: SceneInference,
    source: ImageSource,
    visible: bool = False,
    precision: Precision = "fp32",
) -> MeasuredScenes:
    """Segment every usable scene of a source and compare it with its label map.

    Raises:
        DataError: If none is usable.
    """
    model.eval()
    scores, scenes, broken, seconds = _scores_of(model), list[SceneScore](), list[BrokenPicture](), 0.0
    start = time.perf_counter()
    numbers = track(range(len(source)), "segmenting", console=Console(stderr=True), disable=not visible)
    for index in numbers:
        try:
            scene = opened(source, index)
            picture, true_HW = scene.decode().picture, torch.from_numpy(scene.label_map())
        except DataError as error:
            broken.append(BrokenPicture(source.name(index), str(error)))
            continue
        began = time.perf_counter()
        with computing_in(precision, model.device):
            found_HW = segment_scene(model, picture, how)
        seconds += time.perf_counter() - began
        alone = _scores_of(model)
        alone.add(found_HW, true_HW)
        scores.join(alone)
        numbers = alone.numbers()
        scenes.append(SceneScore(source.name(index), numbers["pixel_accuracy"], numbers["mean_iou"]))
    require_usable(scores.pictures, len(source), broken)
    speed = Speed(len(scenes) / max(seconds, 1e-9), len(scenes) / max(time.perf_counter() - start, 1e-9))
    return MeasuredScenes(scores, scenes, speed, broken)


def _scores_of(model: BeitForSemanticSegmentation) -> SegmentationScores:
    return SegmentationScores(model.config.num_labels)


def opened(source: ImageSource, index: int) -> Scene:
    """Return a scene of a source of scenes."""
    scene = source.open(index)
    assert isinstance(scene, Scene)  # noqa: S101  # for the type checker
    return scene


def score_sections(measured: MeasuredScenes, names: list[str]) -> list[Section]:
    """Return the numbers of a report: means, and a line for each class."""
    scores = measured.scores
    columns = ["class", "IoU", "accuracy", "outline F1", "pixels"]
    rows = [
        [name, *(_percent(values[index]) for values in (scores.iou, scores.accuracy, scores.boundary_f1)),
         f"{int(scores.pixels[index]):,}"]
        for index, name in enumerate(names)
    ]  # fmt: skip
    return [
        Section("Held-out scenes", table=numbers_table(scores.numbers())),
        Section("Classes", columns=columns, rows=rows),
    ]


def overlay_section(model: BeitForSemanticSegmentation, how: SceneInference, source: ImageSource) -> Section:
    """Return the report section of a few scenes: predictions over the picture, the label map, the picture."""
    names = model.config.class_names
    section = Section("Scenes", "From top to bottom: predicted classes over the picture, its label map, the picture.")
    present = set[int]()
    some = spread(source, SHOWN)
    with showing(section):
        for index in range(len(some)):
            try:
                scene = opened(some, index)
                whole, true_HW = scene.decode().picture, scene.label_map().astype(np.int64)
            except DataError:
                continue
            found_HW, picture = segment_scene(model, whole, how).numpy(), as_rgb(whole)
            present |= {int(label) for label in np.union1d(found_HW, true_HW) if label != IGNORED}
            shown = (overlaid(picture, found_HW, len(names)), coloured(true_HW, len(names)), picture)
            size = (_WIDTH, max(1, round(_WIDTH * picture.height / picture.width)))
            section.names.append(Path(some.name(index)).name)
            section.gallery.append([Figure(picture_figure(image.resize(size)).source) for image in shown])
    section.strips.append(picture_figure(legend(names, sorted(present)), "classes"))
    return section


def _percent(value: Tensor) -> str:
    return "" if value.isnan() else percent(float(value))
