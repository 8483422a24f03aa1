"""Measure a classifier on labelled pictures.

Legend: B batch, C channels, H x W pixels, K classes, P pictures, T best classes of a picture.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor
from torch.nn import functional

from beit.data import Batch, BrokenPicture, Collate, ViewDataset, evaluation_batches
from beit.data.source import ImageSource
from beit.data.subset import spread
from beit.errors import CheckpointError, ConfigError
from beit.image import Preprocessing
from beit.models_torch import BeitForImageClassification
from beit.models_torch.device import pick_device
from beit.training.broken import BrokenPictures, require_usable
from beit.training.cost import wait_for
from beit.training.evaluation import TOP, Evaluation, Speed
from beit.training.evaluation_classes import class_indices
from beit.training.evaluation_files import EvaluatedModel, write_predictions, write_result
from beit.training.evaluation_sections import detailed_sections, evaluation_sections
from beit.training.evaluation_view import ExactView, evaluation_view
from beit.training.inputs import open_pictures
from beit.training.jobs import EvaluateJob
from beit.training.report import write_report
from beit.training.run_folder import resolved_recipe

__all__ = ["Evaluation", "evaluate", "evaluate_classifier", "evaluation_sections"]


@dataclass(frozen=True)
class _Answers:
    """What the model says about the pictures of a batch, on the CPU."""

    labels: Tensor
    best: Tensor
    probabilities: Tensor
    losses: Tensor


@torch.inference_mode()
def evaluate_classifier(
    model: BeitForImageClassification,
    view: Preprocessing,
    source: ImageSource,
    batch_size: int,
    workers: int = 0,
    indices: NDArray[np.int64] | None = None,
    flips: bool = False,
    bf16: bool = False,
    bar: bool = False,
) -> Evaluation:
    """Return what a classifier says about every usable picture of a source.

    Args:
        model: The classifier.
        view: What it sees of a picture.
        source: The pictures.
        batch_size: Pictures at once.
        workers: Processes that load pictures.
        indices: The model's index of every class of the source; None matches them by name.
        flips: Whether the scores of a picture and its mirror image are averaged.
        bf16: Whether to compute under autocast.
        bar: Whether to show a progress bar, if there is a terminal.

    Raises:
        DataError: If the pictures have no labels or classes that the model does not have, or none is usable.
        CheckpointError: If the model's scores are not finite.
        ConfigError: If the model is no classifier of one class per picture.
    """
    require_single_label(model)
    names = model.config.class_names
    index_of = torch.from_numpy(class_indices(source, names)[0] if indices is None else indices)
    model.eval()
    dataset = ViewDataset(source, ExactView(view), seed=0, replace_broken=False)
    batches = evaluation_batches(dataset, Collate(0), batch_size, workers)
    answers, numbers, broken, seconds = list[_Answers](), list[int](), list[BrokenPicture](), list[tuple[int, float]]()
    began = time.perf_counter()
    for batch in _with_bar(iter(batches), len(source), bar):
        broken += batch.broken
        if not batch.indices:
            continue
        pixels_BCHW = batch.tensors["pixel_values"].to(model.device)
        wait_for(model.device)
        model_began = time.perf_counter()
        logits_BK = _logits(model, pixels_BCHW, flips, bf16)
        wait_for(model.device)
        seconds.append((len(batch.indices), time.perf_counter() - model_began))
        _require_finite(logits_BK, [source.name(index) for index in batch.indices[:1]])
        answers.append(_answers(logits_BK, index_of[batch.tensors["labels"]]))
        numbers += batch.indices
    whole = time.perf_counter() - began
    require_usable(len(numbers), len(source), broken)
    labels_P, best_PT, probabilities_PT, losses_P = (
        torch.cat([getattr(answer, part) for answer in answers]).numpy()
        for part in ("labels", "best", "probabilities", "losses")
    )
    speed = Speed(_rate(seconds), len(numbers) / max(whole, 1e-9))
    return Evaluation(
        source,
        view,
        names,
        numbers,
        labels_P,
        best_PT,
        probabilities_PT,
        losses_P,
        speed,
        model.num_parameters(),
        broken,
    )


def require_single_label(model: BeitForImageClassification) -> None:
    """Refuse models that do not choose one of several classes.

    Raises:
        ConfigError: Naming what the model is for.
    """
    task, classes = model.config.problem_type, model.config.num_labels
    if task not in (None, "single_label_classification"):
        raise ConfigError(
            f"the model is for {task}, and accuracy, calibration and confusion need one class per picture; expected "
            "a model for single_label_classification (problem_type in its config.json)"
        )
    if classes < 2:
        raise ConfigError(f"the model has {classes} classes; expected at least 2, name a fine-tuned classifier")


def evaluate(job: EvaluateJob) -> Evaluation:
    """Evaluate a saved classifier on pictures, and write the files that are asked for.

    Raises:
        ConfigError: If the model is no classifier of one class per picture, or no pictures are named.
        CheckpointError: If the model cannot be found or read.
        DataError: If the classes of model and pictures cannot be matched, or too many pictures are broken.
        StorageError: If a file cannot be written.
    """
    _check_places(job)
    source = open_pictures(job.data)
    device = pick_device(job.device)
    bf16 = job.precision == "bf16" or (
        job.precision == "auto" and device.type == "cuda" and torch.cuda.is_bf16_supported()
    )
    model = BeitForImageClassification.from_pretrained(job.model).to(device)
    _require_trained_head(model, job.model)
    require_single_label(model)
    view, view_from = evaluation_view(job.model, model.config.image_hw, job.crop_share)
    indices, matched = class_indices(source, model.config.class_names, job.match)
    if job.limit is not None:
        source = spread(source, job.limit)
    evaluation = evaluate_classifier(
        model, view, source, job.batch_size, job.data.workers, indices, job.flips, bf16, bar=True
    )
    BrokenPictures(None, len(source), job.data.max_broken).add(evaluation.broken)
    precision = "bf16" if bf16 else "fp32"
    described = EvaluatedModel(job.model, matched, view_from, str(device), precision)
    if job.output is not None:
        write_result(Path(job.output), evaluation, described, job)
    if job.predictions is not None:
        write_predictions(Path(job.predictions), evaluation)
    if job.report is not None:
        sections = detailed_sections(evaluation, described)
        write_report(Path(job.report), f"Evaluation of {job.model}", sections, resolved_recipe(job))
    return evaluation


def _require_trained_head(model: BeitForImageClassification, name: str) -> None:
    """Refuse checkpoints without a classifier, which load with a random one."""
    if model.load_report is not None and model.load_report.new:
        raise CheckpointError(
            f"{name} holds no trained classifier, {', '.join(model.load_report.new)} would be random; expected a "
            "fine-tuned model: train one with beit finetune --checkpoint"
        )


def _check_places(job: EvaluateJob) -> None:
    """Refuse, before the work, files that cannot be written after it."""
    places = {name: Path(path) for name in ("output", "predictions", "report") if (path := getattr(job, name))}
    for name, place in places.items():
        if place.is_dir():
            raise ConfigError(f"{name} is {str(place)!r}, a folder; expected the name of a file in it")
        if list(places.values()).count(place) > 1:
            raise ConfigError(f"{name} is {str(place)!r}, which another file is to have; choose another name")


def _logits(model: BeitForImageClassification, pixels_BCHW: Tensor, flips: bool, bf16: bool) -> Tensor:
    """Return scores in float32, of a picture or of it and its mirror image on average."""
    with torch.autocast(pixels_BCHW.device.type, torch.bfloat16, enabled=bf16):
        logits_BK = model(pixels_BCHW, return_dict=True).logits.float()
        if flips:
            mirrored_BK = model(pixels_BCHW.flip(-1), return_dict=True).logits.float()
            logits_BK = (logits_BK + mirrored_BK) / 2
    return logits_BK


def _answers(logits_BK: Tensor, labels_B: Tensor) -> _Answers:
    """Return what is kept of a batch."""
    losses_B = functional.cross_entropy(logits_BK, labels_B.to(logits_BK.device), reduction="none")
    best = logits_BK.softmax(dim=-1).topk(min(TOP, logits_BK.shape[-1]))
    return _Answers(labels_B, best.indices.cpu(), best.values.cpu(), losses_B.double().cpu())


def _require_finite(logits_BK: Tensor, names: list[str]) -> None:
    if not bool(logits_BK.isfinite().all()):
        raise CheckpointError(
            f"the model gives scores that are not finite in the batch of {names[0]}; its weights are damaged or have "
            "diverged, or bf16 is too narrow for them: try --precision fp32, or name another checkpoint"
        )


def _rate(seconds: list[tuple[int, float]]) -> float:
    measured = seconds[1:] or seconds
    return sum(count for count, _ in measured) / max(sum(each for _, each in measured), 1e-9)


def _with_bar(batches: Iterator[Batch], total: int, visible: bool) -> Iterator[Batch]:
    """Yield batches, with a bar of pictures on the terminal."""
    console = Console(stderr=True)
    columns = (TextColumn("evaluating"), BarColumn(), MofNCompleteColumn(), TextColumn("time left"))
    with Progress(
        *columns, TimeRemainingColumn(), console=console, transient=True, disable=not (visible and console.is_terminal)
    ) as progress:
        task = progress.add_task("evaluating", total=total)
        for batch in batches:
            yield batch
            progress.advance(task, len(batch.indices) + len(batch.broken))
