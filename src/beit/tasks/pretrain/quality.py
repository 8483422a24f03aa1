"""Masked-token prediction on held-out pictures, beside predicting the token frequencies.

Legend: B batch, N patches, M masked patches of the batch, V codebook size.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

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
)
from beit.settings.inputs import Sources
from beit.tasks.pretrain.loss import PretrainLoss, visual_tokens
from beit.tokenizer import TokenEncoder, count_tokens

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
    vocab_size = encoder.tokenizer.vocab_size
    counts_V = torch.ones(vocab_size, dtype=torch.float64)
    some = generator(0, Purpose.SPLIT).permutation(len(source))[:_FREQUENCY_PICTURES]  # folders are sorted by class
    dataset = ViewDataset(Subset(source, some), views, 0, replace_broken=False)
    for batch in evaluation_batches(dataset, Collate(0), batch_size, workers):
        if batch.indices:
            counts_V += count_tokens(visual_tokens(encoder, batch.tensors), vocab_size).cpu()
    return counts_V / counts_V.sum()
