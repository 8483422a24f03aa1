"""Patches of scenes: their classes by the label maps, and their features in every layer of a frozen model.

Legend: B batch, H x W pixels of a view, N patches, K classes, D features.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from beit.data import ImageSource, Scene, require_usable, still_there
from beit.errors import DataError
from beit.evaluation.features.checks import Labels
from beit.evaluation.features.kept_features import SetFeatures
from beit.evaluation.features.layers import Layers, PictureSet
from beit.image import IGNORED, Preprocessing
from beit.image.labels import resize_labels
from beit.image.steps import center_crop

NO_CLASS = -1  # of a patch whose pixels are all ignored, or that is not drawn
_LABELS = "patch_labels"


@dataclass(frozen=True)
class PatchView:
    """View of a scene: the model's input, and the classes of some of its patches.

    Attributes:
        view: Preprocessing of the picture, which the label map goes through with it.
        grid_hw: Rows and columns of patches.
        classes: Number of classes K.
        most: Patches with a class that are drawn from a scene.
    """

    view: Preprocessing
    grid_hw: tuple[int, int]
    classes: int
    most: int

    def __call__(self, scene: Scene, rng: np.random.Generator) -> dict[str, Any]:
        """Return pixel_values (3, H, W), and patch_labels (N,): a class, or -1."""
        labels_N = patch_classes(seen_label_map(scene.label_map(), self.view), self.grid_hw, self.classes)
        left_out = rng.permutation(np.flatnonzero(labels_N != NO_CLASS))[self.most :]
        labels_N[left_out] = NO_CLASS
        return {"pixel_values": self.view(scene.decode().picture), _LABELS: labels_N}


def seen_label_map(labels: NDArray[np.integer[Any]], view: Preprocessing) -> NDArray[np.int64]:
    """Return what a model sees of a picture's label map (H, W); what lies beyond the picture is ignored."""
    resized = resize_labels(labels.astype(np.int64), view.steps.resized_hw(*labels.shape))
    return center_crop(resized - IGNORED, view.image_hw) + IGNORED  # a crop that is too large is filled up with zeros


def patch_classes(labels_HW: NDArray[np.int64], grid_hw: tuple[int, int], classes: int) -> NDArray[np.int64]:
    """Return the class of every patch (N,): that of most of its pixels, ignored ones apart; of equals the first.

    A patch of ignored pixels alone has -1.

    Args:
        labels_HW: Class of every pixel (H, W), or 255.
        grid_hw: Rows and columns of patches.
        classes: Number of classes K.
    """
    rows, columns = grid_hw
    counted_HW = np.where(labels_HW == IGNORED, classes, labels_HW)
    blocks = counted_HW.reshape(rows, len(labels_HW) // rows, columns, -1).transpose(0, 2, 1, 3)
    pixels_NX = blocks.reshape(rows * columns, -1)
    places_NX = pixels_NX + (classes + 1) * np.arange(len(pixels_NX))[:, None]
    counts = np.bincount(places_NX.ravel(), minlength=(classes + 1) * len(pixels_NX))
    counts_NK = counts.reshape(len(pixels_NX), classes + 1)[:, :classes]
    return np.where(counts_NK.any(axis=1), counts_NK.argmax(axis=1), NO_CLASS)


@torch.inference_mode()
def patch_features(layers: Layers, pictures: PictureSet) -> SetFeatures:
    """Return the features of the patches that have a class in the views of some pictures, in float32.

    Raises:
        DataError: If no picture is usable.
    """
    kept: list[list[Tensor]] = []
    labels: list[Labels] = []
    indices: list[int] = []
    numbers: list[NDArray[np.int64]] = []
    for batch in pictures.batches():
        labels_BN = batch.tensors[_LABELS]
        drawn_BN = labels_BN != NO_CLASS
        states = layers(batch.tensors)
        kept.append([patches_BND[drawn_BN.to(patches_BND.device)].float().cpu() for patches_BND in states])
        labels.append(labels_BN[drawn_BN].numpy())
        numbers.append(np.repeat(np.array(batch.indices, dtype=np.int64), drawn_BN.sum(dim=1).numpy()))
        indices += batch.indices
    require_usable(len(indices), len(pictures.source), pictures.broken)
    joined = [torch.cat(parts).numpy() for parts in zip(*kept, strict=True)]
    return SetFeatures(joined, np.concatenate(labels), np.concatenate(numbers), pictures.broken)


def label_maps_identity(*sources: ImageSource) -> str:
    """Return a hash that changes with the label maps of some scenes, and with how they are read."""
    digest = hashlib.sha256()
    for source in sources:
        for index in range(len(source)):
            try:
                scene: Any = source.open(index)
                with still_there(scene.map_path):
                    content = scene.map_path.read_bytes()
            except (DataError, OSError):
                digest.update(b"broken")
                continue
            digest.update(repr((scene.ids, scene.exif)).encode() + content)
    return digest.hexdigest()
