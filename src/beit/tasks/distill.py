"""Task of distillation: a fine-tuning whose student also learns what a trained classifier makes of each picture.

Legend: B batch, C channels, H x W pixels, K classes, N patches, S = 1 + N tokens, D hidden.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from beit.engine.run import run
from beit.engine.run_folder import RunFolder
from beit.errors import ConfigError
from beit.geometry import patch_grid
from beit.image import COLOURS, Preprocessing
from beit.models_torch import BeitForImageClassification, kernels
from beit.settings.channels import band_options, check_channels, check_range
from beit.settings.distill import StudentJob, TeacherSettings
from beit.settings.groups import DataSettings
from beit.tasks.finetune.loss import FinetuneLoss
from beit.tasks.finetune.task import FinetuneTask
from beit.tokenizer.loading import tensors_fingerprint

_TINY = 1e-8


class DistillTask(FinetuneTask):
    """Distillation of a classifier; all that a fine-tuning has is there too."""

    title = "distillation"
    curves: ClassVar[Mapping[str, Sequence[str]]] = {
        **FinetuneTask.curves,
        "Distance from the teacher": ["teacher_divergence", "teacher_features", "teacher_attention"],
    }
    preparing = "asks the teacher"
    settings: StudentJob

    def start(self) -> None:
        """Refuse what does not fit, and load the student and the teacher.

        Raises:
            ConfigError: If teacher, student and pictures do not fit together.
            CheckpointError: If the teacher cannot be found or read.
        """
        super().start()
        settings, teacher, path = self.settings, self.settings.teacher, self.settings.teacher.path
        if self._kind != "single_label_classification":
            raise ConfigError(f"the pictures have labels of {self._kind}; a distillation takes one class per picture")
        model = BeitForImageClassification.from_pretrained(path)
        if sorted(model.config.class_names) != sorted(self._classes):
            raise ConfigError(
                f"{path} knows {model.config.num_labels} classes ({', '.join(model.config.class_names[:3])}, ...), the "
                f"pictures have {len(self._classes)} ({', '.join(self._classes[:3])}, ...); fine-tune it on them first"
            )
        _check_pictures(model, settings.data, path)
        grids = [patch_grid(config.image_hw, config.patch_hw) for config in (model.config, self._model.config)]
        if grids[0] != grids[1] and (teacher.features or teacher.attention):
            sizes = [f"{grid.height} x {grid.width}" for grid in grids]
            raise ConfigError(
                f"the teacher has {sizes[0]} patches, the student {sizes[1]}; teacher.features and teacher.attention "
                "compare patch by patch: set both to 0, or choose model.image_size and model.patch_size alike"
            )
        order = [model.config.class_names.index(name) for name in self._classes]
        self._teacher = TeacherOutputs(model, Preprocessing.from_pretrained(path), self.view, order, teacher)
        self._teacher.to(self.accelerator.device)

    def build(self) -> DistillLoss:
        """Return the loss over the student."""
        tuned = super().build()
        return DistillLoss(
            tuned.model, tuned.class_weights_K, tuned.frozen, self.settings.teacher, tuned.smoothing
        )  # fmt: skip

    def prepare(self, tensors: Mapping[str, Tensor], step: int) -> Mapping[str, Tensor]:
        """Return the pictures of a step, mixed, with their targets, and what the teacher makes of them."""
        mixed = super().prepare(tensors, step)
        with self.accelerator.autocast():  # a teacher in float32 would take longer than its student
            return {**mixed, **self._teacher(mixed["pixel_values"])}

    def identity(self) -> Mapping[str, str]:
        """Return the hashes of the labels and of the teacher."""
        return {**super().identity(), "teacher": tensors_fingerprint(self._teacher.model.state_dict())}

    @property
    def guessing(self) -> None:
        """Unknown: the distances from the teacher have no loss of guessing."""
        return

    def jax_loss(self, flax: Any) -> Any:
        """Refuse JAX."""
        return super(FinetuneTask, self).jax_loss(flax)


class TeacherOutputs(nn.Module):
    """Logits, patch similarities and attention of a trained classifier, for pictures as its student sees them.

    Args:
        model: The classifier; frozen.
        own: Its preprocessing.
        student: The preprocessing of the student.
        order: (K,) its class for each class of the student.
        wanted: What the student learns of it.
    """

    def __init__(
        self,
        model: BeitForImageClassification,
        own: Preprocessing,
        student: Preprocessing,
        order: list[int],
        wanted: TeacherSettings,
    ) -> None:
        super().__init__()
        self.model = model.eval().requires_grad_(requires_grad=False)
        self._wanted = wanted
        values = [torch.tensor(numbers).view(-1, 1, 1) for numbers in (student.mean, student.std, own.mean, own.std)]
        scale, shift = values[1] / values[3], (values[0] - values[2]) / values[3]
        self.register_buffer("scale_C11", scale)
        self.register_buffer("shift_C11", shift)
        self.register_buffer("order_K", torch.tensor(order))  # a list would be copied, and waited for, in every step
        self.scale_C11: Tensor
        self.shift_C11: Tensor
        self.order_K: Tensor

    @torch.no_grad()
    def forward(self, pixels_BCHW: Tensor) -> dict[str, Tensor]:
        """Return what `outputs_of` does, under names that begin with `teacher_`; classes in the student's order."""
        own_BCHW = pixels_BCHW * self.scale_C11 + self.shift_C11
        if own_BCHW.shape[2:] != self.model.config.image_hw:
            own_BCHW = functional.interpolate(own_BCHW, self.model.config.image_hw, mode="bicubic", antialias=True)
        found = outputs_of(self.model, own_BCHW, self._wanted)
        return {f"teacher_{name}": value for name, value in found.items()} | {
            "teacher_logits": found["logits"].index_select(1, self.order_K)
        }


class DistillLoss(FinetuneLoss):
    """The loss of fine-tuning, and the distances from the teacher, each times its weight."""

    def __init__(
        self,
        model: BeitForImageClassification,
        class_weights: Tensor | None,
        frozen: bool,
        weights: TeacherSettings,
        smoothing: float = 0.0,
    ) -> None:
        super().__init__(model, class_weights, frozen, smoothing)
        self._weights = weights

    def forward(self, tensors: Mapping[str, Tensor], progress: float) -> dict[str, Tensor]:
        """Return the loss, its parts, and the accuracy of the batch where it is known."""
        found = outputs_of(self.model, tensors["pixel_values"], self._weights)
        values = self.of_logits(found["logits"], tensors)
        parts = {"teacher_divergence": self._divergence(found["logits"], tensors["teacher_logits"])}
        total = values["loss"] + self._weights.logits * parts["teacher_divergence"]
        if self._weights.features:
            parts["teacher_features"] = functional.mse_loss(found["similarities"], tensors["teacher_similarities"])
            total = total + self._weights.features * parts["teacher_features"]
        if self._weights.attention:
            own, other = (maps.clamp_min(_TINY).log() for maps in (found["attention"], tensors["teacher_attention"]))
            parts["teacher_attention"] = functional.kl_div(own, other, reduction="none", log_target=True).sum(-1).mean()
            total = total + self._weights.attention * parts["teacher_attention"]
        return {**values, **{name: part.detach() for name, part in parts.items()}, "loss": total}

    def _divergence(self, own_BK: Tensor, other_BK: Tensor) -> Tensor:
        """Return the divergence of softened distributions, scaled so that the temperature leaves gradients alike."""
        soft = self._weights.temperature
        own, other = (own_BK / soft).log_softmax(-1), (other_BK / soft).log_softmax(-1)
        return functional.kl_div(own, other, reduction="batchmean", log_target=True) * soft**2


def _check_pictures(teacher: BeitForImageClassification, data: DataSettings, path: str) -> None:
    """Refuse pictures that are not read as those that the teacher has learnt from.

    A teacher of three channels sees a grey picture as a student of one does: its only channel thrice.

    Raises:
        ConfigError: Naming what differs.
    """
    channels = teacher.config.num_channels
    if (data.channels, channels) != (1, COLOURS):
        check_channels(data, channels, f"the teacher {path}")
    check_range(band_options(data), path)


def outputs_of(model: BeitForImageClassification, pixels_BCHW: Tensor, wanted: TeacherSettings) -> dict[str, Tensor]:
    """Return logits (B, K) and, where they have a weight, similarities (B, N, N) and attention (B, S, S)."""
    output = model(
        pixels_BCHW,
        output_hidden_states=wanted.features > 0,
        output_attentions=wanted.attention > 0,
        return_dict=True,
    )
    found = {"logits": output.logits.float()}
    if wanted.features:
        unit_BND = functional.normalize(output.hidden_states[-1][:, 1:].float(), dim=-1)
        with kernels.without_autocast(unit_BND.device):  # bf16 has three numbers from 0.99 to 1
            found["similarities"] = unit_BND @ unit_BND.transpose(1, 2)
    if wanted.attention:
        found["attention"] = output.attentions[-1].float().mean(1)
    return found


def distill(job: StudentJob) -> RunFolder:
    """Train a student and leave it, metrics and report in the run folder, which is returned.

    Raises:
        ConfigError: If teacher, student and pictures do not fit together.
        DataError: If pictures or labels are unusable.
    """
    return run(DistillTask, job)
