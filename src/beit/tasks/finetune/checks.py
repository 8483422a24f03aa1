"""Checks of labels and settings, before the first step of a fine-tuning."""

from __future__ import annotations

import hashlib

import numpy as np

from beit.config import ProblemType
from beit.data import PAIR, ImageSource, check_shared_batch, label_files
from beit.errors import ConfigError, DataError
from beit.evaluation.classification.problem_type import PROBLEMS
from beit.settings.channels import check_rgb
from beit.settings.finetune import FinetuneJob
from beit.settings.inputs import Sources

_SHOWN = 3  # files in a message


def check_labels(sources: Sources, job: FinetuneJob) -> tuple[list[str], ProblemType]:
    """Return the names of the classes and the problem type, after checking the labels.

    Raises:
        DataError: If there are no labels, too few classes, or labels that are none of them.
    """
    held_out = job.data.val_path or job.data.path
    validated = " of the pictures to validate on"
    for source, place, which in ((sources.train, job.data.path, ""), (sources.val, held_out, validated)):
        if source.classes is None or source.labels is None:
            raise DataError(
                f"{place} has no labels{which}; put every picture into the folder of its class, and none beside them, "
                f"or name a file of labels with data.labels and data.val_labels{_found(place)}"
            )
        if source.label_kind != sources.train.label_kind:
            raise DataError(
                f"{job.data.path} has one {sources.train.label_kind} per picture and {place} {source.label_kind}; "
                "name files of the same kind with data.labels and data.val_labels"
            )
        _check_range(source, str(place))
    classes = list(sources.train.classes or ())
    if sources.train.label_kind == "class":
        seen = np.unique(np.asarray(sources.train.labels))
        if len(seen) < 2:
            raise DataError(
                f"all pictures of {job.data.path} are {classes[int(seen[0])]!r}; expected at least 2 classes: add "
                f"folders of others, or name a file of labels with data.labels{_found(job.data.path)}"
            )
    return classes, PROBLEMS[sources.train.label_kind]


def _found(place: str) -> str:
    """Return a remark on tables beside the pictures, or ""."""
    files = label_files(place)
    return f", such as {', '.join(files[:_SHOWN])}" if files else ""


def _check_range(source: ImageSource, place: str) -> None:
    labels, classes = np.asarray(source.labels), len(source.classes or ())
    if source.label_kind == "class" and len(labels) and not 0 <= labels.min() <= labels.max() < classes:
        wrong = int(np.flatnonzero((labels < 0) | (labels >= classes))[0])
        raise DataError(
            f"{source.name(wrong)} has the label {labels[wrong]}; expected 0 to {classes - 1}, one of the {classes} "
            f"classes of {place}: correct it"
        )


def check_settings(job: FinetuneJob, kind: ProblemType, classes: int, world: int) -> None:
    """Refuse settings that contradict each other or the data.

    Raises:
        ConfigError: Naming them.
    """
    if job.rand_augment.operations:
        check_rgb(job.data, "RandAugment (rand_augment.operations)")
    mixes = job.mixing.mixup > 0 or job.mixing.cutmix > 0
    if mixes:
        check_shared_batch(job.train.batch_size, world, PAIR)
    if job.rand_augment.operations and job.augment.color_jitter:
        raise ConfigError(
            f"rand_augment.operations is {job.rand_augment.operations} and augment.color_jitter "
            f"{job.augment.color_jitter}; RandAugment takes the place of the colour jitter, as published: set "
            "augment.color_jitter to 0"
        )
    if kind == "regression" and (mixes or job.class_weights is not None or job.stop_on == "accuracy"):
        raise ConfigError(
            "mixing, class_weights or stop_on: accuracy is set, but the data has numbers, not classes; leave them out"
        )
    if kind != "single_label_classification" and (job.class_weights == "balanced" or job.stop_on == "accuracy"):
        raise ConfigError(
            "class_weights: balanced or stop_on: accuracy is set, but pictures have several labels; list the weights, "
            "and stop on the loss"
        )
    if isinstance(job.class_weights, tuple) and (len(job.class_weights) != classes or min(job.class_weights) < 0):
        raise ConfigError(
            f"class_weights has {len(job.class_weights)} numbers, {list(job.class_weights[:5])}; expected one for each "
            f"of the {classes} classes, none below 0"
        )
    _check_parts(job)


def _check_parts(job: FinetuneJob) -> None:
    if job.lora.rank is not None and job.freeze == "encoder":
        raise ConfigError("lora.rank is set and freeze is 'encoder'; choose one: a probe or an adaptation")
    if job.optim.name == "muon" and (job.lora.rank is not None or job.freeze == "encoder"):
        raise ConfigError(
            "optim.name is muon, which updates the weight matrices of the encoder, and lora.rank or freeze: encoder "
            "keeps them as they are; set optim.name to adamw"
        )
    if job.checkpoint is None and (job.lora.rank is not None or job.freeze == "encoder" or job.head == "keep"):
        raise ConfigError(
            "freeze: encoder, lora.rank or head: keep is set without a checkpoint; name a pre-trained model with "
            "checkpoint"
        )


def label_identity(source: ImageSource) -> dict[str, str]:
    """Return the identity of the labels, which must be the same when the run continues: their hash."""
    content = np.ascontiguousarray(source.labels).tobytes() + "\n".join(source.classes or ()).encode()
    return {"labels": hashlib.sha256(content).hexdigest()[:16]}
