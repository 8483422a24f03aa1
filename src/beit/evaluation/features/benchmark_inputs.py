"""Settings and labelled pictures of a benchmark, checked before any model is built.

Legend: P training pictures.
"""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

from beit.data import ImageSource, sample
from beit.errors import ConfigError, DataError
from beit.evaluation.features.checks import Labels
from beit.evaluation.features.probes import plan_for
from beit.settings.base import plain
from beit.settings.benchmark import RANDOM, BenchmarkJob, BenchmarkLabelMapSettings
from beit.settings.groups import ModelSettings
from beit.settings.inputs import Sources, open_sources
from beit.settings.scenes import open_scenes
from beit.settings.segment import TrainingLabelMapSettings


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

    if job.label_maps.path is None:
        if job.label_maps != BenchmarkLabelMapSettings():
            raise ConfigError(
                "there are settings of label_maps without label_maps.path; name a folder of label maps with it, or "
                "leave them out"
            )
    elif job.label_maps.classes is None:
        raise ConfigError(
            "label_maps.classes is missing; expected a text file with the name of each class, one per line"
        )
    elif job.shots or job.label_shares or job.finetune.steps is not None:
        given = {"shots": job.shots, "label_shares": job.label_shares, "finetune.steps": job.finetune.steps}
        name = next(name for name, value in given.items() if value)
        raise ConfigError(
            f"{name} is {plain(given[name])} and there are label maps; patches are classified with all of the bank: "
            f"leave {name} out"
        )


def scene_sources(job: BenchmarkJob) -> Sources:
    """Open the pictures of a job that have label maps; no more of them than patches are to be drawn.

    Raises:
        ConfigError: If settings do not apply to label maps, or do not fit together.
        DataError: If they cannot be read, or there are too few.
    """
    maps = job.label_maps
    given = {field.name: getattr(maps, field.name) for field in fields(maps)}
    opened = open_scenes(job.data, TrainingLabelMapSettings(**given), job.seed)
    if len(opened.train) < 2:
        raise DataError(
            f"there is {len(opened.train)} training picture in {job.data.path}; expected 2 or more, one of which is "
            "held out to choose with: add pictures with label maps"
        )
    val_most = len(opened.val) if job.val_pictures is None else job.val_pictures
    train = sample(opened.train, min(job.pictures, job.patches), job.seed)
    return Sources(train, sample(opened.val, min(val_most, job.patches), job.seed))


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
    plan_for(labels_P, train.classes or (), job.k, job.shots, job.label_shares, job.draws, job.seed)
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
