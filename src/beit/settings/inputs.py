"""Opening of the pictures and views that settings describe."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass

from PIL import Image

from beit.data import (
    ALL,
    AffineRange,
    Augmentation,
    ImageSource,
    Splits,
    check_shards,
    few_per_class,
    open_source,
    split,
    splits_of,
    splits_of_labels,
    with_classes,
    with_labels,
)
from beit.errors import ConfigError, DataError
from beit.image import COLOURS, BandOptions, Preprocessing, allow_pixels
from beit.image.model_view import checkpoint_statistics
from beit.settings.channels import band_options, check_range, colour_jitter
from beit.settings.groups import AugmentSettings, DataSettings, ModelSettings, PictureSettings

logger = logging.getLogger("beit")

_FEW = 50  # held-out pictures, of which one changes an accuracy by two hundredths
_MOST_HELD_OUT = 0.2  # of the pictures, to have as many

_Place = tuple[str, str | None]  # path and split of pictures


@dataclass(frozen=True)
class Sources:
    """Pictures to train and to validate on."""

    train: ImageSource
    val: ImageSource


def open_pictures(data: PictureSettings) -> ImageSource:
    """Open the pictures of `data.path`.

    Raises:
        DataError: If there are no pictures, several splits of which none is named, or too many unreadable shards.
    """
    return _open(data.path, data, data.labels, split=data.split)


def open_to_train(data: PictureSettings) -> ImageSource:
    """Open the pictures that a training takes, of which it may hold out a share.

    Raises:
        DataError: If there are no pictures, it is not clear which splits are meant, or too many shards are unreadable.
    """
    return _open(data.path, data, data.labels, split=_learnt_split(data, _splits(data)))


def _open(
    path: str, data: PictureSettings, labels: str | None, classes: list[str] | None = None, split: str | None = None
) -> ImageSource:
    allow_pixels(data.max_pixels)
    divided = labels is not None and (split is None or splits_of_labels(labels, data.columns) is not None)
    of_folder = ALL if divided else split  # the file says which pictures are meant
    columns = data.columns if labels is None else ()
    source = open_source(path, data.min_side, of_folder, classes, columns, band_options(data))
    check_shards(source, data.max_broken)
    return source if labels is None else with_labels(source, path, labels, classes, data.columns, split)


def open_sources(data: DataSettings, seed: int, stratified: bool = False) -> Sources:
    """Open the pictures of a job; `stratified`, for jobs that learn the classes, validates on the same share of each.

    Raises:
        DataError: If there are none, a class has too few, or, `stratified`, the two sources disagree about the classes.
    """
    learnt, measured = training_splits(data)
    source = _open(data.path, data, data.labels, split=learnt)
    if data.val_path is not None or measured is not None:
        place = data.val_path or data.path
        labels = data.labels if data.val_path is None else data.val_labels
        train, val = source, _open(place, data, labels, source.classes, measured)
        if stratified and val.label_kind == "class" and source.classes is not None:
            val = with_classes(val, source.classes)
        if data.val_path is not None:
            say_shared(train, val, (data.path, learnt), (place, measured))
    else:
        train, val = hold_out(source, data.val_share, seed, stratified)
    if data.per_class is not None:
        train = few_per_class(train, data.per_class, seed)
    return Sources(train, val)


def say_shared(train: ImageSource, val: ImageSource, learnt: _Place, measured: _Place) -> None:
    """Say how many of the pictures to validate on are trained on too, where their paths may hold the same ones.

    Args:
        train: Pictures to train on.
        val: Pictures to validate on.
        learnt: Path and split of the former.
        measured: Path and split of the latter.
    """
    one, other = (os.path.join(os.path.realpath(path), "") for path, _ in (learnt, measured))
    if not one.startswith(other) and not other.startswith(one):
        return
    if train.shard_sizes is None and val.shard_sizes is None:
        known = {os.path.abspath(train.name(index)) for index in range(len(train))}
        shared = sum(os.path.abspath(val.name(index)) in known for index in range(len(val)))
    else:  # of files of many pictures, whose names take long
        shared = len(val) if learnt == measured else 0
    if shared:
        logger.warning(
            "%s of %s pictures to validate on are among those to train on (%s and %s): what is measured is in part "
            "what was learnt by heart; name others with data.val_path or data.val_labels, or leave these out, and a "
            "share is held out", f"{shared:,}", f"{len(val):,}", learnt[0], measured[0],
        )  # fmt: skip


def training_splits(data: DataSettings) -> tuple[str | None, str | None]:
    """Return the splits to train and to validate on, and print which they are; None: all that is there, or a share.

    Raises:
        DataError: If it is not clear which splits are meant.
    """
    found = _splits(data)
    learnt = _learnt_split(data, found)
    if data.val_path is not None:
        return learnt, _validation_split(data)
    if found is None:
        return learnt, None
    named = found.names("validation")
    measured = _only(found, "validation", "data.val_path") if named and named != [learnt] else None
    left_out = [name for name in (*found.places, *found.others) if name not in (learnt, measured)]
    logger.warning(
        "%s holds splits: training on %s, validating on %s%s", found.folder, learnt, measured or "a share of it",
        f"; left out: {', '.join(left_out)}" if left_out else "",
    )  # fmt: skip
    return learnt, measured


def _splits(data: PictureSettings) -> Splits | None:
    """Return the splits of `data.path`, or of the file of its labels; None if there are none, or all are wanted."""
    if data.split == ALL:
        return None
    return splits_of(data.path, data.columns) if data.labels is None else splits_of_labels(data.labels, data.columns)


def _learnt_split(data: PictureSettings, found: Splits | None) -> str | None:
    return data.split if found is None or data.split is not None else _only(found, "train", "data.split")


def _validation_split(data: DataSettings) -> str | None:
    """Return the split to validate on of pictures, or of their file of labels, that has several; None of others."""
    found = splits_of_labels(data.val_labels, data.columns) if data.val_labels is not None else None
    found = found or (splits_of(data.val_path, data.columns) if data.val_path is not None else None)
    return None if found is None else _only(found, "validation", "data.val_path")


def _only(splits: Splits, kind: str, setting: str) -> str:
    """Return the only split of a kind.

    Raises:
        DataError: If there is none, or several.
    """
    names = splits.names(kind)
    if len(names) != 1:
        count = "no split" if not names else "several splits"
        raise DataError(
            f"{splits.folder} holds the splits {', '.join(splits.places)}, {count} of the kind {kind!r} among them; "
            f"name one with {setting}"
        )
    return names[0]


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


def augmentation(settings: AugmentSettings, channels: int = COLOURS) -> Augmentation:
    """Return the random changes that a recipe describes, for pictures of so many channels."""
    affine = AffineRange(settings.rotation, settings.shear, settings.shift)
    jitter = colour_jitter(settings, channels)
    return Augmentation(settings.crop_scale, settings.crop_aspect, settings.flip, jitter, affine=affine)


def check_device(settings: AugmentSettings) -> None:
    """Refuse changes of pictures where the model is, outside of trainings.

    Raises:
        ConfigError: Naming the setting.
    """
    if settings.device == "model":
        raise ConfigError("augment.device is model, which trainings know alone; set it to cpu, or leave it out")


def preprocessing(
    model: ModelSettings,
    image_hw: tuple[int, int],
    checkpoint: str | None = None,
    bands: BandOptions | None = None,
) -> Preprocessing:
    """Return the deterministic view; mean and std are those of the recipe, else of the checkpoint; 0.5 without one.

    Args:
        model: The recipe.
        image_hw: Size of the model's input, (height, width).
        checkpoint: Model that is started from.
        bands: Reading of pictures of other than three channels.

    Raises:
        ConfigError: If neither has them, or they are of another number of channels.
    """
    options = bands or BandOptions(COLOURS)
    channels = options.channels
    mean, std = model.image_mean, model.image_std
    if mean is None or std is None:
        half = (0.5,) * channels
        statistics = (half, half) if checkpoint is None else checkpoint_statistics(checkpoint)
        if statistics is None:
            raise ConfigError(
                f"{checkpoint} has no mean and standard deviation of the pictures that it was trained on; expected "
                "a preprocessor_config.json beside it: set model.image_mean and model.image_std (0.5 for BEiT)"
            )
        mean, std = mean or statistics[0], std or statistics[1]
    if checkpoint is not None:
        check_range(bands, checkpoint)
    if {len(mean), len(std)} != {channels}:
        raise ConfigError(
            f"mean and standard deviation are of {len(mean)} and {len(std)} channels, and data.channels is {channels}; "
            "set model.image_mean and model.image_std to one number per channel, which beit statistics measures"
        )
    reading = {"value_range": options.value_range, "frame": options.frame}
    return Preprocessing.cropping(image_hw, model.crop_share, mean=mean, std=std, **reading)
