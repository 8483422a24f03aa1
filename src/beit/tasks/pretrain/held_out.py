"""Measurement of a pre-training on held-out pictures: masked-token prediction in numbers, and drawn.

Legend: B batch, N patches, M masked patches of the batch, V codebook size, h x w patches, C channels, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from beit.data import (
    BrokenPicture,
    Collate,
    ImageSource,
    MaskPlan,
    Purpose,
    Subset,
    ViewDataset,
    Views,
    evaluation_batches,
    generator,
    require_usable,
    spread,
)
from beit.evaluation.tokenizer.drawings import Painter, mean_patches
from beit.models_torch import BeitForMaskedImageModeling
from beit.settings.inputs import Sources, first_pictures
from beit.tasks.pretrain.loss import PretrainLoss, token_counts, visual_tokens
from beit.tokenizer import TokenEncoder, completed_tokens, hide_patches

_NEARLY_ALL = 0.9  # share of the masked patches that have one and the same token
_LEAST_GAIN = 0.01  # of the accuracy over that of the most frequent token
_FREQUENCY_PICTURES = 2048  # training pictures from which the token frequencies are estimated


@dataclass(frozen=True)
class PretrainQuality:
    """Masked-token prediction on held-out pictures.

    Attributes:
        loss: Mean cross-entropy in nats.
        frequency_loss: The same for always predicting the token frequencies of the training pictures.
        accuracy: Share of masked patches whose token is predicted right.
        frequency_accuracy: The same for always predicting the most frequent token.
        pictures: Number of pictures measured.
    """

    loss: float
    frequency_loss: float
    accuracy: float
    frequency_accuracy: float
    pictures: int


def verdict(quality: Mapping[str, float]) -> str | None:
    """Return a warning if the numbers of a `PretrainQuality` show that next to nothing was learnt; None if not."""
    if quality["frequency_accuracy"] > _NEARLY_ALL:
        return (
            "there was next to nothing to learn: one token is nearly everywhere; take another tokenizer "
            "(tokenizer.path), or train it longer"
        )
    if quality["accuracy"] < quality["frequency_accuracy"]:
        return (
            "the model is worse than always guessing the most frequent token: train it longer, on more pictures, or "
            "with another tokenizer"
        )
    if quality["accuracy"] - quality["frequency_accuracy"] < _LEAST_GAIN:
        return (
            "the model hardly guesses better than by the most frequent token: train it longer, on more pictures, or "
            "with another tokenizer"
        )
    return None


@torch.inference_mode()
def measure_pretraining(
    module: PretrainLoss,
    encoder: TokenEncoder,
    sources: Sources,
    views: Views,
    mask: MaskPlan,
    seed: int,
    batch_size: int,
    workers: int,
) -> tuple[PretrainQuality, list[BrokenPicture]]:
    """Measure masked-token prediction on validation pictures, beside predicting the token frequencies.

    Raises:
        DataError: If no validation picture is usable.
    """
    module.eval()
    log_share_V = _token_frequencies(encoder, sources.train, views, batch_size, workers).log()
    dataset = ViewDataset(sources.val, views, seed, replace_broken=False)
    totals, masked, pictures = torch.zeros(4, dtype=torch.float64), 0, 0
    broken: list[BrokenPicture] = []
    for batch in evaluation_batches(dataset, Collate(seed, mask), batch_size, workers):
        broken += batch.broken
        if not batch.indices:
            continue
        tensors = batch.to(module.model.device).tensors
        count = int(tensors["bool_masked_pos"].sum())
        values = module(module.prepare(tensors))
        labels_M = visual_tokens(encoder, tensors)[tensors["bool_masked_pos"]].cpu()
        guessed_M = labels_M == log_share_V.argmax()
        totals += torch.tensor([
            float(values["loss"]) * count,
            float(-log_share_V[labels_M].sum()),
            float(values["accuracy"]) * count,
            float(guessed_M.sum()),
        ])  # fmt: skip
        masked += count
        pictures += len(batch.indices)
    require_usable(pictures, len(sources.val), broken)
    loss, frequency_loss, accuracy, frequency_accuracy = (totals / masked).tolist()
    return PretrainQuality(loss, frequency_loss, accuracy, frequency_accuracy, pictures), broken


@torch.inference_mode()
def held_out_loss(
    module: PretrainLoss,
    source: ImageSource,
    views: Views,
    mask: MaskPlan,
    seed: int,
    batch_size: int,
    workers: int,
) -> float:
    """Return the mean cross-entropy over the masked patches of pictures, nan if none is usable."""
    module.eval()
    total, masked = 0.0, 0
    dataset = ViewDataset(source, views, seed, replace_broken=False)
    for batch in evaluation_batches(dataset, Collate(seed, mask), batch_size, workers):
        if batch.indices:
            tensors = batch.to(module.model.device).tensors
            count = int(tensors["bool_masked_pos"].sum())
            total += float(module(module.prepare(tensors))["loss"]) * count
            masked += count
    return total / masked if masked else float("nan")


def _token_frequencies(
    encoder: TokenEncoder, source: ImageSource, views: Views, batch_size: int, workers: int
) -> Tensor:
    """Return the share of each visual token (V,) in training pictures, none zero (add-one smoothing)."""
    some = generator(0, Purpose.SPLIT).permutation(len(source))[:_FREQUENCY_PICTURES]  # folders are sorted by class
    counts_V = 1.0 + token_counts(encoder, Subset(source, some), views, batch_size, workers)
    return counts_V / counts_V.sum()


class HiddenPatches:
    """Pictures with hidden patches for the gallery: the same pictures and masks each time, encoded once.

    Args:
        model: What predicts the tokens, alone or as it is trained; it may go on learning between two looks.
        encoder: The tokenizer.
        source: Held-out pictures; some at even distances are shown, or the first usable ones if those are broken.
        views: What evaluation sees of a picture, for model and tokenizer.
        mask: How to mask.
        seed: Of the masks.
        count: Pictures to show.

    Raises:
        DataError: If no picture is usable.
    """

    @torch.inference_mode()
    def __init__(
        self,
        model: BeitForMaskedImageModeling | PretrainLoss,
        encoder: TokenEncoder,
        source: ImageSource,
        views: Views,
        mask: MaskPlan,
        seed: int,
        count: int,
    ) -> None:
        self._model = model
        dataset = ViewDataset(_usable(source, count), views, seed, replace_broken=False)
        batch = next(iter(evaluation_batches(dataset, Collate(seed, mask), count, workers=0)))
        require_usable(len(batch.indices), len(source), batch.broken)
        tensors = batch.to(encoder.device).tensors
        self.names = [Path(dataset.name(index)).name for index in batch.indices]
        self._pixel_values, self._mask_BN = tensors["pixel_values"], tensors["bool_masked_pos"]
        pixels_BCHW = tensors["tokenizer_pixels"]
        self._tokens_Bhw = encoder(pixels_BCHW)
        tokenizer = encoder.tokenizer
        self._decode: Painter = (
            tokenizer.decode if tokenizer.decodes_pixels else mean_patches(encoder, source, pixels_BCHW.shape[2])
        )
        self.fixed = {
            "picture": pixels_BCHW,
            "seen": hide_patches(pixels_BCHW, self._mask_BN.view(self._tokens_Bhw.shape)),
            "true_tokens": self._decode(self._tokens_Bhw),
        }

    @torch.inference_mode()
    def predicted(self) -> Tensor:
        """Return the decoding of what the model predicts for hidden patches, and of the true tokens of visible ones."""
        self._model.eval()
        # a divided model is elsewhere between two looks, and takes the pictures there
        return self._decode(completed_tokens(self._model, self._pixel_values, self._mask_BN, self._tokens_Bhw))


def _usable(source: ImageSource, count: int) -> ImageSource:
    """Return some usable pictures: folders are sorted by class, so at even distances if those are sound."""
    even = spread(source, count)
    some = even if first_pictures(even, 1) else source
    found = [index for index, _ in first_pictures(some, count)]
    return Subset(some, np.array(found, dtype=np.int64)) if found else source
