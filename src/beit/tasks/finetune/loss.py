"""Loss of fine-tuning, for one class per picture, several labels at once, or numbers.

Legend: B batch, K classes, labels or numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from beit.config import ProblemType
from beit.data import Mixing, Purpose, generator
from beit.models_torch import BeitForImageClassification

Array = TypeVar("Array", bound=Any)


def weighted(targets_BK: Array, weights_K: Array, smoothing: float) -> Array:
    """Return the targets of pictures, each times the factor of its own class, of a mixed one of both; of any framework.

    What smoothing gives to the other classes counts as the picture does. With factors of their own, those of rare
    classes would be more than the whole rest of the target: every picture would be said to be of the rarest class.

    Args:
        targets_BK: Smoothed, as `Targets` makes them of one class per picture.
        weights_K: Factors on the loss of each class.
        smoothing: Share of the targets that is spread over all classes.
    """
    classes = targets_BK.shape[1]
    plain_BK = (targets_BK - smoothing / classes) / (1 - smoothing)
    counted_BK = plain_BK * weights_K
    return counted_BK * (1 - smoothing) + counted_BK.sum(1)[:, None] * (smoothing / classes)


class FinetuneLoss(nn.Module):
    """The mean loss over the pictures of a batch.

    One class per picture has the cross-entropy with soft targets, several labels the binary cross-entropy, numbers the
    squared error.

    Args:
        model: The classifier.
        class_weights: (K,) factors on the loss of each class, or None.
        frozen: Whether the encoder computes as in evaluation, without dropout and drop path.
        smoothing: Share of the targets that is spread over all classes.
    """

    def __init__(
        self,
        model: BeitForImageClassification,
        class_weights: Tensor | None = None,
        frozen: bool = False,
        smoothing: float = 0.0,
    ) -> None:
        super().__init__()
        self.model = model
        self.frozen, self.smoothing = frozen, smoothing
        self._kind = model.config.problem_type
        self.register_buffer("class_weights_K", class_weights, persistent=False)
        self.class_weights_K: Tensor | None

    def train(self, mode: bool = True) -> FinetuneLoss:
        """Switch to training, or to evaluation; a frozen encoder stays in evaluation."""
        super().train(mode)
        if self.frozen:
            self.model.beit.eval()
        return self

    def forward(self, tensors: Mapping[str, Tensor], progress: float) -> dict[str, Tensor]:
        """Return the loss and, where pictures have one class and are not mixed, the accuracy of the batch."""
        return self.of_logits(self.model(tensors["pixel_values"], return_dict=True).logits.float(), tensors)

    def of_logits(self, logits_BK: Tensor, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the loss and the accuracy of logits."""
        values = {"loss": self._losses(logits_BK, tensors["targets"]).sum(dim=1).mean()}
        if "labels" in tensors:
            right_B = logits_BK.detach().argmax(dim=-1) == tensors["labels"]
            values["accuracy"] = right_B.float().mean()
        return values

    def _losses(self, logits_BK: Tensor, targets_BK: Tensor) -> Tensor:
        """Return the contribution of each class, label or number to the loss of a picture."""
        classes = logits_BK.shape[1]
        if self._kind == "regression":
            return functional.mse_loss(logits_BK, targets_BK, reduction="none") / classes
        weights_K = self.class_weights_K
        if self._kind == "multi_label_classification":
            losses_BK = functional.binary_cross_entropy_with_logits(logits_BK, targets_BK, reduction="none")
            return losses_BK * (1.0 if weights_K is None else weights_K) / classes
        if weights_K is not None:
            targets_BK = weighted(targets_BK, weights_K, self.smoothing)
        return -targets_BK * logits_BK.log_softmax(dim=-1)


class Targets:
    """Makes the targets of a batch, and mixes its pictures.

    Args:
        kind: Of the labels.
        classes: Number of classes, labels or numbers K.
        smoothing: Share of the target that is spread over all classes; of several labels, towards one half.
        mixing: Mixup and cutmix.
        seed: Of the run.
    """

    def __init__(
        self, kind: ProblemType, classes: int, smoothing: float = 0.0, mixing: Mixing | None = None, seed: int = 0
    ) -> None:
        self._kind, self._classes, self._smoothing = kind, classes, smoothing
        self._mixing, self._seed = mixing or Mixing(), seed

    def __call__(self, tensors: Mapping[str, Tensor], step: int) -> dict[str, Tensor]:
        """Return pixel_values (B, C, H, W) and targets (B, K); labels (B,) too while they are the whole truth."""
        pixels_BCHW, targets_BK = tensors["pixel_values"], self.plain(tensors["labels"])
        if self._mixing.active:
            height, width = pixels_BCHW.shape[2:]
            mix = self._mixing.draw(height, width, generator(self._seed, Purpose.MIX, step))
            return {"pixel_values": mix.pictures(pixels_BCHW), "targets": mix.targets(targets_BK)}
        whole = {"labels": tensors["labels"]} if self._kind == "single_label_classification" else {}
        return {"pixel_values": pixels_BCHW, "targets": targets_BK, **whole}

    def plain(self, labels: Tensor) -> Tensor:
        """Return the targets (B, K) of pictures that are not mixed."""
        if self._kind == "regression":
            return labels.float().view(len(labels), self._classes)
        if self._kind == "multi_label_classification":
            return labels.float() * (1 - self._smoothing) + self._smoothing / 2
        hot_BK = functional.one_hot(labels, self._classes).float()
        return hot_BK * (1 - self._smoothing) + self._smoothing / self._classes


def balanced_weights(labels: Any, classes: int) -> Tensor:
    """Return weights (K,) with which every class counts alike, and the mean picture 1; 0 of one without pictures.

    Args:
        labels: (P,) class of every training picture.
        classes: Number of classes K, of which a table may name some that no picture is of.
    """
    counts_K = torch.bincount(torch.as_tensor(labels), minlength=classes).float()
    weights_K = counts_K.sum() / ((counts_K > 0).sum() * counts_K)
    return weights_K.where(counts_K > 0, 0.0)
