"""Initial model of a fine-tuning: new, or any checkpoint, adapted to the task."""

from __future__ import annotations

import logging
from typing import Any

import torch

from beit.config import BeitConfig, ProblemType
from beit.data import ImageSource
from beit.errors import ConfigError
from beit.models_torch import BeitForImageClassification
from beit.models_torch.loading import read_tensor
from beit.settings.finetune import FinetuneJob
from beit.settings.model import check_channels_of, model_config, task_config, task_options
from beit.weights import Checkpoint, open_checkpoint

logger = logging.getLogger("beit")


def starting_model(
    job: FinetuneJob, classes: list[str], kind: ProblemType = "single_label_classification"
) -> BeitForImageClassification:
    """Return the classifier that a job trains.

    The shared relative position bias of pre-training becomes one bias per layer, as in the original scripts, and is
    resized if the job asks for another image size.

    Raises:
        ConfigError: If job and checkpoint do not fit together.
        CheckpointError: If the checkpoint cannot be found or read.
    """
    options: dict[str, Any] = {**task_options(classes), "problem_type": kind, "num_channels": job.data.channels}
    if job.pooling is not None:
        options["use_mean_pooling"] = job.pooling == "mean"
    if job.checkpoint is None:
        return _up_to(job.probe.layer, BeitForImageClassification(model_config(job.model, **options)))
    checkpoint = open_checkpoint(job.checkpoint)
    before = BeitConfig.from_dict(checkpoint.options)
    check_channels_of(before, job.data.channels, job.checkpoint)
    config = task_config(job.model, before, options, job.checkpoint)
    keeps = _keeps_head(job, checkpoint, before, classes)
    model = BeitForImageClassification.from_checkpoint(checkpoint, config=config, bias_resize=job.bias_resize)
    if not keeps:
        model.initialise_weights(model.classifier)
    _take_over_norm(model, checkpoint)
    return _up_to(job.probe.layer, model)


def _keeps_head(job: FinetuneJob, checkpoint: Checkpoint, before: BeitConfig, classes: list[str]) -> bool:
    """Return whether training continues the checkpoint's head; with `head: auto`, if it is one for the same classes."""
    has_head = "classifier.weight" in checkpoint.tensors
    if job.head == "keep":
        held = before.num_labels if has_head else 0
        if held != len(classes):
            raise ConfigError(
                f"head is 'keep', but {job.checkpoint} has a head for {held} classes and the data has {len(classes)}; "
                "set head to new, or name data of the same classes"
            )
        return True
    same = has_head and before.class_names == classes
    if has_head and job.head == "auto":
        held = f"{before.num_labels} classes {_shown(before.class_names)}"
        said = f"the same {held}" if same else f"{held}, the data {len(classes)} {_shown(classes)}"
        what = "its head is kept" if same else "a new head is trained (head: keep would continue the old one)"
        logger.warning("%s knows %s: %s", job.checkpoint, said, what)
    return same and job.head == "auto"


def _shown(names: list[str]) -> str:
    return f"({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"


def _take_over_norm(model: BeitForImageClassification, checkpoint: Checkpoint) -> None:
    """Copy the last norm of pre-training, which is part of the head there, into a classifier on [CLS]."""
    new = model.load_report.new if model.load_report is not None else ()
    if "beit.layernorm.weight" in new and "layernorm.weight" in checkpoint.tensors:
        with torch.no_grad():
            for name in ("weight", "bias"):
                model.get_parameter(f"beit.layernorm.{name}").copy_(
                    read_tensor(checkpoint.tensors[f"layernorm.{name}"])
                )
        logger.warning("the last layer norm of pre-training normalises the [CLS] token")


def _up_to(layer: int | None, model: BeitForImageClassification) -> BeitForImageClassification:
    """Leave out the layers above the one that a probe reads."""
    if layer is None:
        return model
    depth = model.config.num_hidden_layers
    if layer > depth:
        raise ConfigError(f"probe.layer is {layer}; expected 1 to {depth}, a layer of the model")
    model.config = BeitConfig.from_dict(model.config.to_dict(), num_hidden_layers=layer)
    model.beit.config = model.config
    model.beit.encoder.layer = model.beit.encoder.layer[:layer]
    return model


def start_at_mean(model: BeitForImageClassification, source: ImageSource) -> None:
    """Set the bias of a new head to the mean of the training targets, rather than 0, which may be far off."""
    bias_K = model.get_parameter("classifier.bias")
    if not bias_K.any():  # one that goes on has learnt it already
        with torch.no_grad():
            bias_K.copy_(torch.as_tensor(source.labels).mean(dim=0))
