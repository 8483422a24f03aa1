"""Opening of the pictures and views that settings describe."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from PIL import Image

from beit.data import (
    AffineRange,
    Augmentation,
    ImageSource,
    check_shards,
    few_per_class,
    open_source,
    split,
    with_labels,
)
from beit.errors import ConfigError, DataError
from beit.image import HALF, Preprocessing
from beit.image.statistics import checkpoint_statistics
from beit.settings.groups import AugmentSettings, DataSettings, ModelSettings, PictureSettings

logger = logging.getLogger("beit")

_FEW = 50  # held-out pictures, of which one changes an accuracy by two hundredths
_MOST_HELD_OUT = 0.2  # of the pictures, to have as many


@dataclass(frozen=True)
class Sources:
    """Pictures to train and to validate on."""

    train: ImageSource
    val: ImageSource


def open_pictures(data: PictureSettings) -> ImageSource:
    """Open the pictures of `data.path`.

    Raises:
        DataError: If there are no pictures, or too many shards are unreadable.
    """
    return _open(data.path, data, data.labels)


def _open(path: str, data: PictureSettings, labels: str | None, classes: list[str] | None = None) -> ImageSource:
    source = open_source(path, data.min_side)
    check_shards(source, data.max_broken)
    return source if labels is None else with_labels(source, path, labels, classes)


def open_sources(data: DataSettings, seed: int, stratified: bool = False) -> Sources:
    """Open the pictures of a job; `stratified`, for jobs that learn the classes, validates on the same share of each.

    Raises:
        DataError: If there are none, a class has too few, or, `stratified`, the two sources disagree about the classes.
    """
    source = open_pictures(data)
    if data.val_path is not None:
        train, val = source, _open(data.val_path, data, data.val_labels, source.classes)
        if stratified and train.classes is not None and val.classes is not None and train.classes != val.classes:
            strange = sorted(set(val.classes) ^ set(train.classes))
            raise DataError(
                f"the classes of {data.path} and {data.val_path} differ in {strange}; name the class folders alike"
            )
    else:
        train, val = hold_out(source, data.val_share, seed, stratified)
    if data.per_class is not None:
        train = few_per_class(train, data.per_class, seed)
    return Sources(train, val)


def hold_out(source: ImageSource, share: float, seed: int, stratified: bool = False) -> tuple[ImageSource, ImageSource]:
    """Return pictures to train and to validate on: a share of them, or 50 where a fifth of them is as many.

    Raises:
        DataError: If there are too few, see `split`.
    """
    pictures, asked = len(source), round(share * len(source))
    raised = asked < _FEW <= _MOST_HELD_OUT * pictures
    train, val = split(source, _FEW / pictures if raised else share, seed, stratified)
    if raised:
        logger.warning(
            "data.val_share %g of %s pictures would be %d, too few to measure on: %d are held out", share,
            f"{pictures:,}", asked, len(val),
        )  # fmt: skip
    elif len(val) < _FEW:
        logger.warning(
            "%d of %d pictures are held out, of which each counts %.1f %%: measurements are rough; name more with "
            "data.val_path, or raise data.val_share", len(val), pictures, 100 / len(val),
        )  # fmt: skip
    return train, val


def first_pictures(source: ImageSource, count: int) -> list[tuple[int, Image.Image]]:
    """Return the first usable pictures of a source with their indices, for showing."""
    found: list[tuple[int, Image.Image]] = []
    for index in range(len(source)):
        if len(found) == count:
            break
        try:
            found.append((index, source.load(index)))
        except DataError:
            continue
    return found


def augmentation(settings: AugmentSettings) -> Augmentation:
    """Return the random changes that a recipe describes."""
    affine = AffineRange(settings.rotation, settings.shear, settings.shift)
    return Augmentation(settings.crop_scale, settings.crop_aspect, settings.flip, settings.color_jitter, affine=affine)


def preprocessing(model: ModelSettings, image_hw: tuple[int, int], checkpoint: str | None = None) -> Preprocessing:
    """Return the deterministic view; mean and std are those of the recipe, else of the checkpoint; 0.5 without one.

    Raises:
        ConfigError: If neither has them.
    """
    mean, std = model.image_mean, model.image_std
    if mean is None or std is None:
        statistics = (HALF, HALF) if checkpoint is None else checkpoint_statistics(checkpoint)
        if statistics is None:
            raise ConfigError(
                f"{checkpoint} has no mean and standard deviation of the pictures that it was trained on; expected "
                "a preprocessor_config.json beside it: set model.image_mean and model.image_std (0.5 for BEiT)"
            )
        mean, std = mean or statistics[0], std or statistics[1]
    return Preprocessing.cropping(image_hw, model.crop_share, mean=mean, std=std)
