"""Attentive probe of frozen patch features: one learnt query attends over the patches, then a linear layer.

A mean over the patches hides what only some of them hold; this probe learns which patches to read. Unlike the ridge
probe it is trained by gradient steps, so its number of epochs is chosen on training pictures held out from it.

Legend: P pictures, Q validation pictures, B of a batch, N patches, D features, H heads of d features, K classes.

Source: attentive probing in CAE (arXiv 2202.03026).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import gcd

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from beit.errors import DataError
from beit.evaluation.features.checks import Labels
from beit.evaluation.features.layers import Layers, PictureSet
from beit.evaluation.features.ridge import choosing_split

EPOCHS = (5, 10, 20)  # numbers to choose from
RATE = 1e-3
_BATCH, _HEADS, _WEIGHT_DECAY = 64, 4, 0.05
_AT_ONCE = 250  # pictures that are judged together

AfterEpoch = Callable[[int, "AttentiveProbe"], None]  # called with the number of epochs so far, and the probe


class AttentiveProbe(nn.Module):
    """Query, attention over normalised patches, normalisation, linear layer: (P, N, D) to scores (P, K).

    Args:
        width: Number of features D.
        classes: Number of classes K.
    """

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.query = nn.Parameter(0.02 * torch.randn(1, 1, width))
        self.norm, self.last_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, gcd(width, _HEADS), batch_first=True)
        self.head = nn.Linear(width, classes)

    def forward(self, patches_PND: Tensor) -> Tensor:
        """Return a score for every class (P, K)."""
        return self.head(self.last_norm(self._seen(self.norm(patches_PND))))

    def _seen(self, known_PND: Tensor) -> Tensor:
        """Return what the query sees of all patches (P, D).

        Keys and values of patches are never made: of one query the products move to the other side, so that a patch is
        multiplied with a vector per head rather than with two matrices. A bias of the keys changes no share.
        """
        attention, heads = self.attention, self.attention.num_heads
        weights_3DD, biases_3D = attention.in_proj_weight.chunk(3), attention.in_proj_bias.chunk(3)
        query_Hd = (self.query[0, 0] @ weights_3DD[0].T + biases_3D[0]).unflatten(0, (heads, -1))
        asked_HD = torch.einsum("hd,hdk->hk", query_Hd, weights_3DD[1].unflatten(0, (heads, -1)))
        shares_PNH = (known_PND @ asked_HD.T / query_Hd.shape[1] ** 0.5).softmax(dim=1)
        means_PHD = shares_PNH.transpose(1, 2) @ known_PND
        values_PHd = torch.einsum("phk,hdk->phd", means_PHD, weights_3DD[2].unflatten(0, (heads, -1)))
        return attention.out_proj(values_PHd.flatten(1) + biases_3D[2])


@dataclass(frozen=True)
class AttentiveScores:
    """Accuracies of an attentive probe, in [0, 1].

    Attributes:
        accuracy: On validation pictures.
        layer: The layer whose patches it sees, from 1.
        epochs: Passes over its training pictures, as chosen.
        held_out: Accuracy on the training pictures that they were chosen with.
        pictures: Training pictures, with those.
    """

    accuracy: float
    layer: int
    epochs: int
    held_out: float
    pictures: int


def train_attentive(
    patches_PND: Tensor,
    labels_P: Labels,
    epochs: int,
    seed: int,
    after_epoch: AfterEpoch | None = None,
    device: torch.device | str = "cpu",
) -> AttentiveProbe:
    """Train a probe; on a CPU the same seed gives the same probe.

    Args:
        patches_PND: Patch features of training pictures (P, N, D), of any precision; batches move to the device.
        labels_P: Their classes (P,), from 0.
        epochs: Passes over the pictures.
        seed: Of the first weights and the order; the random stream of the host stays as it is.
        after_epoch: Called after every epoch.
        device: Where the probe learns.
    """
    targets_P = torch.from_numpy(np.asarray(labels_P, dtype=np.int64))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        probe = AttentiveProbe(patches_PND.shape[2], 1 + int(targets_P.max())).to(device)
        optimiser = torch.optim.AdamW(probe.parameters(), RATE, weight_decay=_WEIGHT_DECAY)
        for epoch in range(1, epochs + 1):
            probe.train()
            for chosen in torch.randperm(len(targets_P)).split(_BATCH):
                optimiser.zero_grad()
                scores_PK = probe(patches_PND[chosen].to(device).float())
                functional.cross_entropy(scores_PK, targets_P[chosen].to(device)).backward()
                optimiser.step()
            if after_epoch is not None:
                after_epoch(epoch, probe)
    return probe


def attentive_accuracy(probe: AttentiveProbe, patches_PND: Tensor, labels_P: Labels) -> float:
    """Return the accuracy of a probe on patch features (P, N, D), in [0, 1]."""
    answers = [attentive_answers(probe, part_PND) for part_PND in patches_PND.split(_AT_ONCE)]
    return float((np.concatenate(answers) == labels_P).mean())


@torch.inference_mode()
def attentive_answers(probe: AttentiveProbe, patches_PND: Tensor) -> Labels:
    """Return the class of every picture (P,) by its patch features (P, N, D)."""
    return probe.eval()(patches_PND.to(probe.query.device).float()).argmax(dim=1).cpu().numpy()


def fit_attentive(
    patches_PND: Tensor, labels_P: Labels, fitted: int, seed: int, device: torch.device | str = "cpu"
) -> tuple[AttentiveProbe, int, float]:
    """Train a probe for the number of epochs that does best on some of its pictures when it learns from the others.

    Args:
        patches_PND: Patch features (P, N, D).
        labels_P: Their classes (P,), from 0.
        fitted: How many pictures, the first ones, it learns from while the epochs are chosen with the others.
        seed: See `train_attentive`.
        device: Where the probe learns.

    Returns:
        The probe, trained on all pictures; its epochs, of equally good numbers the smallest; and their accuracy on
        the pictures that they were chosen with.
    """
    accuracies: dict[int, float] = {}

    def look(epoch: int, probe: AttentiveProbe) -> None:
        if epoch in EPOCHS:
            accuracies[epoch] = attentive_accuracy(probe, patches_PND[fitted:], labels_P[fitted:])

    train_attentive(patches_PND[:fitted], labels_P[:fitted], max(EPOCHS), seed, look, device)
    epochs = max(accuracies, key=lambda number: accuracies[number])
    return train_attentive(patches_PND, labels_P, epochs, seed, device=device), epochs, accuracies[epochs]


def attentive_split(count: int, most: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return (fitted, chosen): at most so many training pictures, the parts being parts of those of `choosing_split`.

    Args:
        count: Number of training pictures.
        most: Number of those that a probe may see.
    """
    fitted, chosen = choosing_split(count)
    if count > most:
        held_out = max(1, round(most * len(chosen) / count))
        fitted, chosen = fitted[: most - held_out], chosen[:held_out]
    return np.sort(fitted), np.sort(chosen)


def score_attentive(
    layers: Layers, layer: int, known: PictureSet, fitted: int, asked: PictureSet, seed: int, device: torch.device
) -> AttentiveScores:
    """Return the scores of an attentive probe, from a pass of its own over the pictures.

    Patch features of the training pictures are kept in half precision, of the one layer; those of validation pictures
    are judged batch by batch and not kept.

    Args:
        layers: The frozen model.
        layer: The layer to look at, from 1.
        known: Training pictures, in the order of `fit_attentive`.
        fitted: See there.
        asked: Validation pictures.
        seed: See `train_attentive`.
        device: Where the probe learns.

    Raises:
        DataError: If features are beyond half precision.
    """
    parts = list(_patches(layers, layer, known))
    patches_PND = torch.cat([patches_BND for patches_BND, _ in parts])
    indices_P = np.concatenate([indices for _, indices in parts])
    known_P, asked_Q = np.asarray(known.source.labels)[indices_P], np.asarray(asked.source.labels)
    usable = int((indices_P < fitted).sum())
    probe, epochs, held_out = fit_attentive(patches_PND, known_P, usable, seed, device)
    right = [
        attentive_answers(probe, patches_BND) == asked_Q[indices]
        for patches_BND, indices in _patches(layers, layer, asked)
    ]
    return AttentiveScores(float(np.concatenate(right).mean()), layer, epochs, held_out, len(patches_PND))


@torch.inference_mode()
def _patches(layers: Layers, layer: int, pictures: PictureSet) -> Iterator[tuple[Tensor, list[int]]]:
    """Yield the patch features (B, N, D) of one layer in half precision, and the numbers of their pictures.

    Raises:
        DataError: If they are beyond it.
    """
    for batch in pictures.batches():
        patches_BND = layers(batch.tensors)[layer - 1].half().cpu()
        if not patches_BND.isfinite().all():
            raise DataError(
                f"patch features of layer {layer} are not finite in half precision; expected numbers up to 65,504: "
                "leave the attentive probe out with --attentive_pictures 0"
            )
        yield patches_BND, batch.indices
