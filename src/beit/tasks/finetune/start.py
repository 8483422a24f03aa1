"""What a fine-tuning starts from, checked before the first step: for the run itself, and for its forecast.

Legend: K classes, labels or numbers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from beit.config import ProblemType
from beit.data import PAIR, Augmentation, ImageSource, Mixing, RandAugment, ViewDataset, Views
from beit.engine.schedule import check_length
from beit.engine.sharding import check_sharding
from beit.image import Preprocessing
from beit.models_torch import BeitForImageClassification
from beit.settings.finetune import FinetuneJob
from beit.settings.inputs import Sources, augmentation, preprocessing
from beit.tasks.finetune.checks import check_labels, check_settings
from beit.tasks.finetune.loss import Targets, balanced_weights
from beit.tasks.finetune.model import starting_model
from beit.tasks.finetune.run import FinetuneRun


@dataclass(frozen=True)
class FinetuneStart:
    """The parts of a fine-tuning that fit together.

    Attributes:
        model: The model to train.
        view: Its preprocessing.
        classes: Names of the K classes, labels or numbers.
        kind: Of the labels.
        mixing: How pictures are mixed.
    """

    model: BeitForImageClassification
    view: Preprocessing
    classes: list[str]
    kind: ProblemType
    mixing: Mixing

    @property
    def together(self) -> int:
        """Neighbours in the order that one process gets, because they are mixed with each other."""
        return PAIR if self.mixing.active else 1


def finetuning_start(job: FinetuneJob, sources: Sources, world: int) -> FinetuneStart:
    """Return the parts of a fine-tuning over `world` processes.

    Raises:
        ConfigError: If settings, data and checkpoint do not fit together.
        DataError: If pictures or labels are unusable.
        CheckpointError: If the checkpoint cannot be found or read.
    """
    check_sharding(job.run, job.train)
    classes, kind = check_labels(sources, job)
    check_settings(job, kind, len(classes), world)
    check_length(job.train, job.optim, len(sources.train), world)
    torch.manual_seed(job.run.seed)
    model = starting_model(job, classes, kind)
    if kind == "regression":
        start_at_mean(model, sources.train)
    view = preprocessing(job.model, model.config.image_hw, job.checkpoint)
    mixing = Mixing(job.mixing.mixup, job.mixing.cutmix, job.mixing.probability, job.mixing.switch)
    return FinetuneStart(model, view, classes, kind, mixing)


def finetuning_run(job: FinetuneJob, start: FinetuneStart, source: ImageSource) -> FinetuneRun:
    """Return what the loop trains on some labelled pictures."""
    targets = Targets(start.kind, len(start.classes), job.label_smoothing, start.mixing, job.run.seed)
    return FinetuneRun(start.model, start.view, job, targets, class_weights(job, source, len(start.classes)))


def training_views(job: FinetuneJob, start: FinetuneStart, source: ImageSource) -> ViewDataset:
    """Return the random views to train on."""
    return ViewDataset(source, Views(start.view, finetune_augmentation(job)), job.run.seed, replace_broken=True)


def finetune_augmentation(job: FinetuneJob) -> Augmentation:
    """Return the random changes of the training pictures."""
    settings = job.rand_augment
    operations = RandAugment(settings.operations, settings.magnitude, settings.magnitude_std)
    return replace(augmentation(job.augment), rand_augment=operations if settings.operations else None, erase=job.erase)


def class_weights(job: FinetuneJob, source: ImageSource, classes: int) -> Tensor | None:
    """Return the factors (K,) on the loss of each class, or None for none."""
    if job.class_weights is None:
        return None
    if job.class_weights == "balanced":
        return balanced_weights(source.labels, classes)
    return torch.tensor(job.class_weights)


def start_at_mean(model: BeitForImageClassification, source: ImageSource) -> None:
    """Let a new head begin with the mean of what it is to learn, not with 0, which may be far off."""
    bias_K = model.get_parameter("classifier.bias")
    if not bias_K.any():  # one that goes on has learnt it already
        with torch.no_grad():
            bias_K.copy_(torch.as_tensor(source.labels).mean(dim=0))
