"""Loss of segmentation: the cross-entropy of every pixel, and of the auxiliary head.

Legend: B batch, K classes, H x W pixels, y x x a map of scores, P pixels that count.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from beit.image import IGNORED
from beit.models_torch import BeitForSemanticSegmentation
from beit.models_torch.kernels import resize
from beit.settings.segment import HardPixelSettings


class SegmentLoss(nn.Module):
    """The mean cross-entropy over the pixels that have a class, plus the auxiliary head's.

    Args:
        model: The segmentation model.
        class_weights: (K,) factors on the loss of each class, or None.
        hard_pixels: Which pixels to learn from.
    """

    def __init__(
        self,
        model: BeitForSemanticSegmentation,
        class_weights: Tensor | None = None,
        hard_pixels: HardPixelSettings | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        self._hard = hard_pixels or HardPixelSettings()
        self.register_buffer("class_weights_K", class_weights, persistent=False)
        self.class_weights_K: Tensor | None

    def forward(self, tensors: Mapping[str, Tensor], progress: float = 0.0) -> dict[str, Tensor]:
        """Return the loss, and the share of pixels predicted right."""
        labels_BHW = tensors["labels"]
        logits_BKyx, auxiliary_BKyx = self.model.both_logits(tensors["pixel_values"])
        logits_BKHW = _enlarged(logits_BKyx, labels_BHW)
        loss = self._loss(logits_BKHW, labels_BHW)
        parts = {"loss": loss}
        if auxiliary_BKyx is not None:
            auxiliary = self._loss(_enlarged(auxiliary_BKyx, labels_BHW), labels_BHW)
            parts = {"loss": loss + self.model.config.auxiliary_loss_weight * auxiliary, "auxiliary_loss": auxiliary}
        right_BHW = logits_BKHW.detach().argmax(dim=1) == labels_BHW  # no class is IGNORED
        counted = (labels_BHW != IGNORED).sum().clamp(min=1)
        return {**parts, "pixel_accuracy": right_BHW.sum() / counted}

    def _loss(self, logits_BKHW: Tensor, labels_BHW: Tensor) -> Tensor:
        losses_BHW = functional.cross_entropy(
            logits_BKHW, labels_BHW, self.class_weights_K, ignore_index=IGNORED, reduction="none"
        )
        kept_BHW = labels_BHW != IGNORED
        if self._hard.confidence is not None:
            kept_BHW &= hard_pixels(logits_BKHW.detach(), labels_BHW, self._hard.confidence, self._hard.least)
        return (losses_BHW * kept_BHW).sum() / kept_BHW.sum().clamp(min=1)


def hard_pixels(logits_BKHW: Tensor, labels_BHW: Tensor, confidence: float, least: int) -> Tensor:
    """Return the mask (B, H, W) of the pixels whose true class has a probability below `confidence`.

    If these are fewer than `least`, it is as many of the least probable, or all that have a class.

    Source: the online hard example mining of the published segmentation code.
    """
    counted_BHW = labels_BHW != IGNORED
    probability_BKHW = logits_BKHW.softmax(dim=1)
    true_BHW = probability_BKHW.gather(1, labels_BHW.masked_fill(~counted_BHW, 0).unsqueeze(1)).squeeze(1)
    # those without a class come last, so that no count has to be waited for
    ranked_P = true_BHW.masked_fill(~counted_BHW, torch.inf).flatten().sort().values
    last = ranked_P[min(least, len(ranked_P)) - 1]
    return counted_BHW & ((true_BHW < last.clamp(min=confidence)) | (true_BHW == last))


def _enlarged(logits_BKyx: Tensor, labels_BHW: Tensor) -> Tensor:
    """Return scores for every pixel of the labels, in float32."""
    return resize(logits_BKyx.float(), (labels_BHW.shape[1], labels_BHW.shape[2]))
