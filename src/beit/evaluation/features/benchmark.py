"""Benchmark of frozen features: raw pixels, random weights and models by the same measurements on the same pictures."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from beit.data import BrokenPicture
from beit.evaluation.features.benchmark_inputs import check_settings, labelled_sources, scene_sources
from beit.evaluation.features.frozen import Frozen, frozen_models, open_models
from beit.evaluation.features.kept_features import ModelFeatures
from beit.evaluation.features.passes import ModelPasses, Note, keeping
from beit.evaluation.features.patch_probes import score_patches, split_patches
from beit.evaluation.features.probes import ModelScores, plan_for, score_model
from beit.models_torch.device import pick_device, pick_precision
from beit.settings.benchmark import BenchmarkJob
from beit.settings.inputs import Sources

_ORDER = ("pixels", "random", "model")  # of the kinds in the table


@dataclass(frozen=True)
class Finetuned:
    """A model that was fine-tuned, rather than frozen, with a share of the labels.

    Attributes:
        share: Of the training pictures of every class; 1 for all.
        pictures: Training pictures with a label.
        accuracy: On validation pictures, in [0, 1].
        lr: Peak learning rate.
    """

    share: float
    pictures: int
    accuracy: float
    lr: float


@dataclass(frozen=True)
class Measured:
    """A row of the benchmark.

    Attributes:
        frozen: The features.
        scores: Their scores.
        speed: Pictures per second of the pass that computed the features, with reading them.
        seconds: Of the measurements after the pass.
        patches: Numbers of training and of validation patches that were classified; None of whole pictures.
        finetuned: The same model fine-tuned, with every share of the labels and with all.
    """

    frozen: Frozen
    scores: ModelScores
    speed: float
    seconds: float
    patches: tuple[int, int] | None = None
    finetuned: Sequence[Finetuned] = ()


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


def benchmark(
    job: BenchmarkJob, show: Callable[[Measured], None] = lambda row: None, note: Note = lambda line: None
) -> Benchmark:
    """Measure the frozen features of models on labelled pictures, or on the patches of pictures with label maps.

    Args:
        job: The settings.
        show: Called with every row when it is measured.
        note: Called with a line when features that an earlier benchmark kept are read, or found damaged.

    Raises:
        ConfigError: If settings do not fit together, or a model has no valid config.
        CheckpointError: If a model cannot be found or read.
        DataError: If the pictures have no label of one class each or no label map, there are too few for what is asked
            for, or too many are broken.
        StorageError: If features cannot be kept.
    """
    check_settings(job)
    device = pick_device(job.device)
    precision = pick_precision(job.precision, device)
    models = frozen_models(job, open_models(job), device, precision)
    sources = labelled_sources(job) if job.label_maps.path is None else scene_sources(job)
    kept = keeping(job, sources)
    rows: list[Measured] = []
    broken: list[BrokenPicture] = []
    counts = (0, 0)
    for frozen in models:
        passes = ModelPasses(frozen, sources, job, device, precision, kept, note)
        features = passes.features()
        if job.label_maps.path is None:
            row = _of_pictures(frozen, features, passes, sources, job)
        else:
            row = _of_patches(frozen, features, sources, job)
        counts = len(sources.train) - len(features.train.broken), len(sources.val) - len(features.val.broken)
        broken = features.train.broken + features.val.broken
        rows.append(row)
        show(row)
    rows.sort(key=lambda row: _ORDER.index(row.frozen.kind))
    return Benchmark(rows, list(sources.train.classes or ()), *counts, broken, str(device), precision)


def _of_pictures(
    frozen: Frozen, features: ModelFeatures, passes: ModelPasses, sources: Sources, job: BenchmarkJob
) -> Measured:
    """Return the row of a model whose features classify pictures."""
    began = time.perf_counter()
    train, val = features.train, features.val
    plan = plan_for(
        train.labels_P, sources.train.classes or (), job.k, job.shots, job.label_shares, job.draws, job.seed
    )
    scores = score_model(train.layers, train.labels_P, val.layers, val.labels_P, plan)
    if job.attentive_pictures and frozen.kind != "pixels":
        scores = replace(scores, attentive=passes.attentive(features, scores.ridge_layer))
    return Measured(frozen, scores, features.speed, time.perf_counter() - began)


def _of_patches(frozen: Frozen, features: ModelFeatures, sources: Sources, job: BenchmarkJob) -> Measured:
    """Return the row of a model whose features classify patches."""
    began = time.perf_counter()
    train, val, classes = features.train, features.val, sources.train.classes or ()
    scores = score_patches(train, val, len(classes), split_patches(train, val, classes, job.k))
    counts = len(train.labels_P), len(val.labels_P)
    return Measured(frozen, scores, features.speed, time.perf_counter() - began, counts)
