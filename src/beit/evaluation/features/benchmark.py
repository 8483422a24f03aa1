"""Benchmark of frozen features: raw pixels, random weights and models by the same measurements on the same pictures.

Legend: P training pictures, Q validation pictures, D features.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from beit.data import BrokenPicture, BrokenPictures, ImageSource, Subset, loading_workers, sample
from beit.errors import ConfigError, DataError
from beit.evaluation.classification.view import ExactView
from beit.evaluation.features.attentive import AttentiveScores, attentive_split, score_attentive
from beit.evaluation.features.checks import Labels
from beit.evaluation.features.frozen import Frozen, frozen_models, open_models
from beit.evaluation.features.layers import Layers, Pass, PictureSet, features_of
from beit.evaluation.features.probes import ModelScores, plan_for, score_model
from beit.models_torch.device import busy_cpus, pick_device, pick_precision
from beit.settings.benchmark import RANDOM, BenchmarkJob
from beit.settings.groups import ModelSettings
from beit.settings.inputs import Sources, open_sources

Advance = Callable[[int], None]  # called with numbers of pictures that have passed
_ORDER = ("pixels", "random", "model")  # of the kinds in the table


@dataclass(frozen=True)
class Measured:
    """A row of the benchmark.

    Attributes:
        frozen: The features.
        scores: Their scores.
        speed: Pictures per second of the pass, with reading them.
        seconds: Of the measurements after the pass.
    """

    frozen: Frozen
    scores: ModelScores
    speed: float
    seconds: float


@dataclass(frozen=True)
class Benchmark:
    """Result of a benchmark.

    Attributes:
        rows: Raw pixels, random weights, then the models in their order.
        classes: Names of the classes.
        train_pictures: Usable training pictures.
        val_pictures: Usable validation pictures.
        broken: Pictures that were left out.
        device: Where the models computed.
        precision: "fp32", "bf16" or "fp16".
    """

    rows: list[Measured]
    classes: list[str]
    train_pictures: int
    val_pictures: int
    broken: list[BrokenPicture]
    device: str
    precision: str


def benchmark(job: BenchmarkJob, show: Callable[[Measured], None] = lambda row: None) -> Benchmark:
    """Measure the frozen features of models on labelled pictures.

    Args:
        job: The settings.
        show: Called with every row when it is measured.

    Raises:
        ConfigError: If settings do not fit together, or a model has no valid config.
        CheckpointError: If a model cannot be found or read.
        DataError: If the pictures have no label of one class each, there are too few for what is asked for, or too many
            are broken.
    """
    check_settings(job)
    device = pick_device(job.device)
    precision = pick_precision(job.precision, device)
    checkpoints = open_models(job)
    sources = labelled_sources(job)
    rows: list[Measured] = []
    broken: list[BrokenPicture] = []
    counts = (0, 0)
    for frozen in frozen_models(job, checkpoints, device, precision):
        with _bar(frozen.name, _passing(frozen, sources, job)) as advance:
            row, counts, broken = _measure(frozen, sources, job, advance)
        rows.append(row)
        show(row)
    rows.sort(key=lambda row: _ORDER.index(row.frozen.kind))
    return Benchmark(rows, list(sources.train.classes or ()), *counts, broken, str(device), precision)


def check_settings(job: BenchmarkJob) -> None:
    """Refuse settings that would have no use, and an output that is no folder.

    Raises:
        ConfigError: Naming them.
    """
    if job.output is not None and Path(job.output).exists() and not Path(job.output).is_dir():
        raise ConfigError(f"output is {job.output!r}, a file; expected a folder for result.json and report.html")
    if job.data.shuffle_window is not None:
        raise ConfigError("data.shuffle_window is the order of a training; a benchmark reads in order: leave it out")
    if job.model != ModelSettings() and set(job.models) != {RANDOM}:
        raise ConfigError(
            f"there are settings of model and models is {list(job.models)}; expected them for {RANDOM} alone, since "
            "a checkpoint has its own architecture and preprocessing: leave them out"
        )


def labelled_sources(job: BenchmarkJob) -> Sources:
    """Open the pictures of a job, and check that they allow its measurements.

    Raises:
        DataError: If they do not, or cannot be read.
    """
    opened = open_sources(job.data, job.seed, stratified=True)
    train = sample(opened.train, job.pictures, job.seed)
    val = opened.val if job.val_pictures is None else sample(opened.val, job.val_pictures, job.seed)
    labels_P = _class_labels(train, job.data.path)
    _class_labels(val, job.data.val_path or job.data.path)
    plan_for(labels_P, train.classes or (), job.k, job.shots, job.draws, job.seed)
    return Sources(train, val)


def _class_labels(source: ImageSource, path: str) -> Labels:
    """Return the classes of pictures (P,).

    Raises:
        DataError: If some picture has no label of one class, or all have the same.
    """
    if source.labels is None or source.classes is None or source.label_kind != "class":
        held = "no labels" if source.labels is None else f"labels of the kind {source.label_kind!r}"
        raise DataError(
            f"the pictures of {path} have {held}; expected one class per picture: put them into one folder per class, "
            "name a file of labels with data.labels (column `label`), or parquet with a column of labels"
        )
    if len(source.classes) < 2:
        raise DataError(
            f"the pictures of {path} are of {len(source.classes)} class; expected 2 or more: name a folder that holds "
            "a folder per class"
        )
    if missing := int((source.labels < 0).sum()):
        raise DataError(
            f"{missing} of {len(source)} pictures of {path} have no label; expected one class per picture: leave them "
            "out of the collection"
        )
    return source.labels


def _measure(
    frozen: Frozen, sources: Sources, job: BenchmarkJob, advance: Advance
) -> tuple[Measured, tuple[int, int], list[BrokenPicture]]:
    """Return a row, the numbers of usable pictures, and the broken ones."""
    began = time.perf_counter()
    train, broken = _pass(frozen, sources.train, job, advance)
    val, more = _pass(frozen, sources.val, job, advance)
    passed = time.perf_counter()
    labels_P, val_labels_Q = _labels(sources.train, train), _labels(sources.val, val)
    plan = plan_for(labels_P, sources.train.classes or (), job.k, job.shots, job.draws, job.seed)
    known, asked = ([layer.means_PD for layer in one.layers] for one in (train, val))
    scores = score_model(known, labels_P, asked, val_labels_Q, plan)
    if _is_attentive(frozen, job):
        attentive = _attentive(frozen, sources, (train, val), scores.ridge_layer, job, advance)
        scores = replace(scores, attentive=attentive)
    counts = len(labels_P), len(val_labels_Q)
    row = Measured(frozen, scores, sum(counts) / max(passed - began, 1e-9), time.perf_counter() - passed)
    return row, counts, broken + more


def _pass(frozen: Frozen, source: ImageSource, job: BenchmarkJob, advance: Advance) -> tuple[Pass, list[BrokenPicture]]:
    """Return the features of the usable pictures of a source, and the others.

    Raises:
        DataError: If too many are broken.
    """
    pictures = _pictures(frozen, source, job)
    passed = features_of(_counted(frozen, advance), pictures)
    BrokenPictures(None, len(source), job.data.max_broken).add(pictures.broken)
    return passed, pictures.broken


def _attentive(
    frozen: Frozen, sources: Sources, passes: tuple[Pass, Pass], layer: int, job: BenchmarkJob, advance: Advance
) -> AttentiveScores:
    """Return the scores of an attentive probe of one layer, on pictures that were usable in the first passes."""
    train, val = passes
    fitted, chosen = attentive_split(len(train.indices_P), job.attentive_pictures)
    known = Subset(sources.train, train.indices_P[np.concatenate([fitted, chosen])])
    asked = Subset(sources.val, val.indices_P)
    return score_attentive(
        _counted(frozen, advance),
        layer,
        _pictures(frozen, known, job),
        len(fitted),
        _pictures(frozen, asked, job),
        job.seed,
        pick_device(job.device),
    )


def _is_attentive(frozen: Frozen, job: BenchmarkJob) -> bool:
    return frozen.kind != "pixels" and job.attentive_pictures > 0


def _passing(frozen: Frozen, sources: Sources, job: BenchmarkJob) -> int:
    """Return how many pictures pass through a model."""
    train, val = len(sources.train), len(sources.val)
    return train + val + (min(train, job.attentive_pictures) + val if _is_attentive(frozen, job) else 0)


def _pictures(frozen: Frozen, source: ImageSource, job: BenchmarkJob) -> PictureSet:
    workers = loading_workers(job.data.workers, busy_cpus(pick_device(job.device)))
    return PictureSet(source, ExactView(frozen.view), 0, job.batch_size, workers)


def _counted(frozen: Frozen, advance: Advance) -> Layers:
    """Return the model, with a count of the pictures that pass through it."""

    def layers(tensors: Mapping[str, Tensor]) -> Sequence[Tensor]:
        advance(len(tensors["pixel_values"]))
        return frozen.layers(tensors)

    return layers


def _labels(source: ImageSource, passed: Pass) -> Labels:
    """Return the classes of the pictures that were usable (P,)."""
    return np.asarray(source.labels)[passed.indices_P]


@contextmanager
def _bar(name: str, pictures: int) -> Generator[Advance]:
    """Show a bar of pictures, if there is a terminal."""
    console = Console(stderr=True)
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(name, total=pictures)
        yield lambda count: progress.advance(task, count)
