"""Evaluation of a saved segmentation model on pictures with label maps, with its files and report."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import isnan
from pathlib import Path
from typing import Any

from beit.data import BrokenPicture, BrokenPictures, NamedClasses, read_classes, spread
from beit.errors import CheckpointError, ConfigError
from beit.evaluation.checks import check_places, check_settings
from beit.evaluation.result import Speed, write_predictions, write_result
from beit.evaluation.segmentation.measure import MeasuredScenes, measure_scenes, overlay_section, score_sections
from beit.image import Preprocessing, allow_pixels
from beit.image.model_view import evaluation_view
from beit.models_torch import BeitForSemanticSegmentation
from beit.models_torch.device import pick_device, pick_precision
from beit.models_torch.scene import SceneInference
from beit.models_torch.sliding_window import Windows
from beit.reports.report import Section, confusion_section, since, write_report
from beit.reports.units import percent
from beit.settings.base import resolved_recipe
from beit.settings.channels import band_options, check_channels, check_range
from beit.settings.evaluate import EvaluateJob
from beit.settings.packaged import class_file
from beit.settings.scenes import open_scene_folder, scene_folders
from beit.settings.segment import SceneUseSettings

_WORST = 20  # scenes listed in the report


@dataclass(frozen=True)
class SceneEvaluation:
    """Measurements of a segmentation model.

    Attributes:
        measured: Scores.
        names: Of the classes.
        parameters: Of the model.
    """

    measured: MeasuredScenes
    names: list[str]
    parameters: int

    def numbers(self) -> dict[str, float]:
        """Return the means over classes, and the other single numbers."""
        return self.measured.scores.numbers()

    @property
    def speed(self) -> Speed:
        """Throughput in scenes per second."""
        return self.measured.speed

    @property
    def broken(self) -> list[BrokenPicture]:
        """Scenes that were left out."""
        return self.measured.broken

    def per_class(self) -> list[dict[str, Any]]:
        """Return the numbers of each class, in their order; None where there are none."""
        scores = self.measured.scores
        columns = {"iou": scores.iou, "accuracy": scores.accuracy, "outline_f1": scores.boundary_f1}
        return [
            {"index": index, "name": name, "pixels": int(scores.pixels[index])}
            | {key: None if values[index].isnan() else float(values[index]) for key, values in columns.items()}
            for index, name in enumerate(self.names)
        ]

    def details(self) -> dict[str, Any]:
        """Return the results of the classes, ready for JSON."""
        confusion = self.measured.scores.confusion_KK.tolist()
        return {"classes": self.names, "per_class": self.per_class(), "confusion": confusion}

    def rows(self) -> Iterator[list[str]]:
        """Yield a table of the scenes: the names of the columns, then the scores of each."""
        yield ["picture", "mean_iou", "pixel_accuracy"]
        for scene in self.measured.scenes:
            yield [scene.name, f"{scene.mean_iou:.6f}", f"{scene.pixel_accuracy:.6f}"]


def evaluate_scenes(job: EvaluateJob) -> SceneEvaluation:
    """Evaluate a saved segmentation model, and write the files that are asked for.

    Raises:
        ConfigError: If settings do not fit together, or the model has other classes than the file that is named.
        CheckpointError: If the model cannot be found or read, or has no segmentation head.
        DataError: If pictures or label maps are unusable.
        StorageError: If a file cannot be written.
    """
    began = time.perf_counter()
    check_places(job)
    check_settings(job)
    if job.label_maps.path is None:
        raise ConfigError("label_maps.path is missing; name a folder of label maps, one for each picture")
    device = pick_device(job.device)
    precision = pick_precision(job.precision, device)
    model = BeitForSemanticSegmentation.from_pretrained(job.model).to(device)
    if model.load_report is not None and any(name.startswith("decode_head.") for name in model.load_report.new):
        raise CheckpointError(
            f"{job.model} holds no trained segmentation head; expected a model that predicts the class of every pixel: "
            "train one with beit segment, or leave label_maps.path out"
        )
    check_channels(job.data, model.config.num_channels, job.model)
    check_range(band_options(job.data), job.model)
    names = model.config.class_names
    classes = _named(job, names)
    allow_pixels(job.data.max_pixels)
    pictures, label_maps = scene_folders(job.data, job.label_maps.path)
    source = open_scene_folder(pictures, label_maps, job.data, job.label_maps, classes)
    view, _ = evaluation_view(job.model, model.config.image_hw, None)
    how = _inference(job, model.config.image_hw, view)
    some = spread(source, job.limit) if job.limit is not None else source
    measured = measure_scenes(model, how, some, visible=True, precision=precision)
    BrokenPictures(None, len(some), job.data.max_broken).add(measured.broken)
    evaluation = SceneEvaluation(measured, names, model.num_parameters())
    if job.output is not None:
        described = {
            "name": job.model,
            "device": str(device),
            "precision": precision,
            "problem_type": "semantic_segmentation",
            "parameters": evaluation.parameters,
            "classes": len(names),
        }
        write_result(Path(job.output), evaluation, described, job)
    if job.predictions is not None:
        write_predictions(Path(job.predictions), evaluation)
    if job.report is not None:
        sections = [*scene_sections(evaluation), overlay_section(model, how, some)]
        write_report(Path(job.report), f"Evaluation of {job.model}", sections, resolved_recipe(job), since(began))
    return evaluation


def _named(job: EvaluateJob, names: list[str]) -> NamedClasses:
    """Return the model's classes, with the colours of the named file; its names must be the model's."""
    if job.label_maps.classes is None:
        return NamedClasses(names, None)
    listed = read_classes(class_file(job.label_maps.classes))
    if listed.names != names:
        place = next((i for i, pair in enumerate(zip(listed.names, names, strict=False)) if pair[0] != pair[1]), None)
        differs = (
            f"class {place} is {listed.names[place]!r} there and {names[place]!r} in the model"
            if place is not None
            else f"{len(listed.names)} there and {len(names)} in the model"
        )
        raise ConfigError(
            f"the classes of {job.label_maps.classes} are not those of the model: {differs}; leave label_maps.classes "
            "out to take the model's, or name a model for these"
        )
    return listed


def _inference(job: EvaluateJob, image_hw: tuple[int, int], view: Preprocessing) -> SceneInference:
    use = job.scene
    options: dict[str, Any] = {"mean": view.mean, "std": view.std}
    if job.flips is not None:
        options["flip"] = job.flips
    if use.shorter_side is not None:
        options["shorter_side"] = use.shorter_side
    if use.scales is not None:
        options["scales"] = use.scales
    saved = SceneInference.from_pretrained(job.model, image_hw, **options)
    return replace(saved, windows=_windows(use, saved, image_hw))


def _windows(use: SceneUseSettings, saved: SceneInference, image_hw: tuple[int, int]) -> Windows | None:
    if use.mode == "whole":
        if use.window is not None or use.stride is not None:
            raise ConfigError("scene.window or scene.stride is set, and scene.mode is whole; choose one")
        return None
    if use.window is not None:
        stride = use.stride or max(1, use.window * 2 // 3)
        return Windows((use.window, use.window), (stride, stride))
    windows = saved.windows
    if windows is None and use.mode == "slide":
        windows = SceneInference.published(image_hw).windows
    if use.stride is not None:
        if windows is None:
            raise ConfigError(f"scene.stride is {use.stride}, and the model takes pictures at once; set scene.window")
        return Windows(windows.size_hw, (use.stride, use.stride))
    return windows


def scene_sections(evaluation: SceneEvaluation) -> list[Section]:
    """Return the numbers of a report, the confusion matrix, and the scenes that are segmented worst."""
    scored = [scene for scene in evaluation.measured.scenes if not isnan(scene.mean_iou)]  # else every pixel is ignored
    worst = sorted(scored, key=lambda scene: scene.mean_iou)[:_WORST]
    rows = [[Path(scene.name).name, percent(scene.mean_iou), percent(scene.pixel_accuracy)] for scene in worst]
    return [
        *score_sections(evaluation.measured, evaluation.names),
        confusion_section(evaluation.measured.scores.confusion_KK.numpy(), evaluation.names),
        Section("Scenes that are segmented worst", columns=["scene", "mean IoU", "pixels right"], rows=rows),
    ]
