"""Task of fine-tuning: a BEiT that learns one class, several labels or numbers per picture.

Legend: K classes, labels or numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import log
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from beit.catalog import SIZES
from beit.data import PAIR, ImageSource, Mixing, RandAugment, Views
from beit.engine.run import run
from beit.engine.run_folder import RunFolder
from beit.engine.schedule import FINETUNED_BEFORE, FINETUNING, FINETUNING_LARGE, PROBE, SCRATCH, Rate
from beit.engine.task import Measured, Task
from beit.evaluation.classification.measure import evaluate_model
from beit.evaluation.classification.one_pass import PassOptions
from beit.evaluation.classification.sections import evaluation_sections
from beit.image import Preprocessing
from beit.models_torch import BeitForImageClassification
from beit.settings.channels import band_options
from beit.settings.finetune import FinetuneJob
from beit.settings.inputs import Sources, augmentation, open_sources, preprocessing
from beit.settings.model import hidden_width
from beit.tasks.finetune.checks import check_labels, check_settings, label_identity
from beit.tasks.finetune.lora import adapt, load_adapter, merged_state, save_adapter
from beit.tasks.finetune.loss import FinetuneLoss, Targets, balanced_weights
from beit.tasks.finetune.model import start_at_mean, starting_model


class FinetuneTask(Task[FinetuneJob, FinetuneLoss]):
    """Fine-tuning of a checkpoint, or the same training from scratch."""

    title = "fine-tuning"
    curves: ClassVar[Mapping[str, Sequence[str]]] = {
        "Loss": ["loss", "held_out_loss"],
        "Accuracy": ["accuracy"],
        "Held-out error": ["held_out_error"],
        "Learning rate": ["lr"],
    }

    def __init__(self, settings: FinetuneJob) -> None:
        super().__init__(settings)
        self.width = hidden_width(settings.model)

    def open(self) -> Sources:
        """Open the pictures; every class is held out in the same share."""
        return open_sources(self.settings.data, self.settings.run.seed, stratified=True)

    def start(self) -> None:
        """Refuse what does not fit, and load the model to start from.

        Raises:
            ConfigError: If settings, data and checkpoint do not fit together.
            DataError: If pictures or labels are unusable.
            CheckpointError: If the checkpoint cannot be found or read.
        """
        settings = self.settings
        self._classes, self._kind = check_labels(self.sources, settings)
        check_settings(settings, self._kind, len(self._classes), self.world)
        super().start()
        self._model = starting_model(settings, self._classes, self._kind)
        if self._kind == "regression":
            start_at_mean(self._model, self.sources.train)
        self.view: Preprocessing = preprocessing(
            settings.model, self._model.config.image_hw, settings.checkpoint, band_options(settings.data)
        )
        mixing = settings.mixing
        self._mixing = Mixing(mixing.mixup, mixing.cutmix, mixing.probability, mixing.switch)
        self._targets = Targets(
            self._kind, len(self._classes), settings.label_smoothing, self._mixing, settings.run.seed
        )

    def build(self) -> FinetuneLoss:
        """Return the loss over the model, adapted or frozen if asked for."""
        settings, model = self.settings, self._model
        if self._adapted:
            adapt(model, settings.lora)
        elif settings.freeze == "encoder":
            model.beit.requires_grad_(requires_grad=False)
        return FinetuneLoss(model, self._class_weights(), settings.freeze == "encoder", settings.label_smoothing)

    @property
    def model(self) -> BeitForImageClassification:
        """The classifier."""
        return self.module.model

    @property
    def _adapted(self) -> bool:
        return self.settings.lora.rank is not None

    def _class_weights(self) -> Tensor | None:
        """Return the factors (K,) on the loss of each class, or None for none."""
        weights = self.settings.class_weights
        if weights == "balanced":
            return balanced_weights(self.sources.train.labels, len(self._classes))
        return None if weights is None else torch.tensor(weights)

    def views(self) -> Views:
        """Return the random views of the training pictures."""
        settings, random = self.settings.rand_augment, augmentation(self.settings.augment, self.settings.data.channels)
        operations = RandAugment(settings.operations, settings.magnitude, settings.magnitude_std)
        chosen = operations if settings.operations else None
        return Views(self.view, replace(random, rand_augment=chosen, erase=self.settings.erase))

    @property
    def together(self) -> int:
        """Pictures that are mixed with each other stay on one process."""
        return PAIR if self._mixing.active else 1

    def prepare(self, tensors: Mapping[str, Tensor], step: int) -> Mapping[str, Tensor]:
        """Return the pictures of a step, mixed, with their targets."""
        return self._targets(tensors, step)

    def rate(self) -> Rate:
        """Return the published rate for what learns, and for what it starts from."""
        settings, report = self.settings, self._model.load_report
        if settings.freeze == "encoder":
            return PROBE
        if report is None:
            return SCRATCH
        if report.knows_labels and not self._adapted:  # the matrices of an adaptation are new whatever is below them
            return FINETUNED_BEFORE
        return FINETUNING_LARGE if self._model.config.hidden_size >= SIZES["large"]["hidden_size"] else FINETUNING

    @property
    def guessing(self) -> float | None:
        """The cross-entropy of equal probabilities; None of numbers, and of weights that were set."""
        if self._kind == "regression" or isinstance(self.settings.class_weights, tuple):
            return None
        return log(2 if self._kind == "multi_label_classification" else len(self._classes))

    def jax_loss(self, flax: Any) -> Any:
        """Return the loss in JAX."""
        import jax.numpy as jnp

        from beit.tasks.finetune.jax_loss import classification_loss  # JAX is an extra

        weights = self.module.class_weights_K
        factors_K = None if weights is None else jnp.asarray(weights.cpu().numpy())
        return classification_loss(flax, factors_K, self.module.frozen, self.module.smoothing)

    @property
    def watched(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The number that `stop_on` names."""
        return "held_out_loss" if self.settings.stop_on == "loss" else "held_out_error"

    def held_out(self, source: ImageSource) -> float:
        """Return the loss, or the share of wrong predictions, on some held-out pictures."""
        numbers = self.measure(self.model, source).numbers
        return numbers["loss"] if self.settings.stop_on == "loss" else 1 - numbers["accuracy"]

    def measure(self, model: nn.Module, source: ImageSource) -> Measured:
        """Measure accuracy, loss or errors."""
        assert isinstance(model, BeitForImageClassification)  # noqa: S101  # for the type checker
        measured = evaluate_model(model, self.view, source, PassOptions(self.settings.train.batch_size))
        return Measured(measured.numbers(), measured.broken, lambda: evaluation_sections(measured))

    def identity(self) -> Mapping[str, str]:
        """Return the hash of the labels."""
        return label_identity(self.sources.train)

    def save(self, folder: Path, model: Any = None) -> None:
        """Write the model, or another such as its moving average, and its preprocessing into a folder."""
        model = self.model if model is None else model
        model.save_pretrained(folder, state_dict=merged_state(model) if self._adapted else None)
        self.view.save_pretrained(folder)
        if self._adapted:
            save_adapter(model, folder)

    def load(self, folder: Path) -> None:
        """Fill the model from a folder."""
        if self._adapted:
            load_adapter(self.model, folder)
        else:
            super().load(folder)


def finetune(job: FinetuneJob) -> RunFolder:
    """Fine-tune a model and leave it, metrics and report in the run folder, which is returned.

    Raises:
        ConfigError: If settings, data and checkpoint do not fit together.
        DataError: If pictures or labels are unusable.
    """
    return run(FinetuneTask, job)
