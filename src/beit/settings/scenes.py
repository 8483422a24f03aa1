"""Scenes that settings describe: pictures with label maps."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from beit.data import (
    ALL,
    CITYSCAPES,
    MOST_NUMBERS,
    LabelIds,
    NamedClasses,
    SceneFolder,
    Splits,
    chosen_split,
    named_split,
    read_classes,
    splits_of,
)
from beit.errors import ConfigError, DataError
from beit.image import allow_pixels
from beit.settings.channels import band_options
from beit.settings.groups import DataSettings, PictureSettings
from beit.settings.inputs import Sources, hold_out, say_shared, training_splits
from beit.settings.packaged import class_file
from beit.settings.segment import LabelMapSettings, TrainingLabelMapSettings

Folders = tuple[str, str]  # of pictures, and of label maps


def open_scenes(data: DataSettings, label_maps: TrainingLabelMapSettings, seed: int) -> Sources:
    """Open the scenes of a training.

    Raises:
        ConfigError: If settings do not apply to label maps, or do not fit together.
        DataError: If there are no pictures, or pictures without a label map.
    """
    if data.labels is not None or data.val_labels is not None or data.per_class is not None:
        raise ConfigError(
            "data.labels, data.val_labels or data.per_class is set; label maps hold the classes: leave it out"
        )
    if (data.val_path is None) != (label_maps.val_path is None):
        raise ConfigError(
            f"data.val_path is {data.val_path} and label_maps.val_path {label_maps.val_path}; expected both, or neither"
        )
    allow_pixels(data.max_pixels)
    classes = read_classes(class_file(label_maps.classes))
    learnt, measured = _places(data, label_maps)
    source = open_scene_folder(*learnt, data, label_maps, classes)
    if measured is None:
        return Sources(*hold_out(source, data.val_share, seed))
    val = open_scene_folder(*measured, data, label_maps, classes)
    if data.val_path is not None:
        say_shared(source, val, (learnt[0], None), (measured[0], None))
    return Sources(source, val)


def _places(data: DataSettings, label_maps: TrainingLabelMapSettings) -> tuple[Folders, Folders | None]:
    """Return the folders of pictures and of label maps to train on, and those to validate on if there are any.

    Raises:
        DataError: If the pictures are divided into splits, and the label maps are not, or a split is asked for where
            there is none.
    """
    found = _splits_of(data.path, data.split)
    validation = None
    if data.val_path is not None and label_maps.val_path is not None:
        validation = data.val_path, label_maps.val_path
    if found is None and validation is None:
        return (data.path, label_maps.path), None
    learnt, measured = training_splits(data)
    own = (data.path, label_maps.path) if found is None or learnt is None else _both(found, label_maps.path, learnt)
    if validation is not None:
        inner = splits_of(validation[0])
        return own, validation if inner is None or measured is None else _both(inner, validation[1], measured)
    return own, None if found is None or measured is None else _both(found, label_maps.path, measured)


def scene_folders(data: PictureSettings, label_maps: str) -> Folders:
    """Return the folders of the pictures and of the label maps that are meant: of a split, if there are several.

    Raises:
        DataError: If there are several splits and none is named, or one that is not there.
    """
    found = _splits_of(data.path, data.split)
    if found is None:
        return data.path, label_maps
    return _both(found, label_maps, chosen_split(found.folder, found.places, data.split))


def _splits_of(pictures: str, split: str | None) -> Splits | None:
    """Return the splits of the pictures, None if there are none or all are wanted.

    Raises:
        DataError: If a split is asked for where there is none.
    """
    found = splits_of(pictures) if split != ALL else None
    if found is None and split not in (None, ALL):
        raise DataError(f"data path {pictures!r} holds no splits, and {split!r} is asked for; leave data.split out")
    return found


def _both(pictures: Splits, label_maps: str, split: str) -> Folders:
    """Return the folders of a split of the pictures and of its label maps.

    Raises:
        DataError: If one of them does not have it.
    """
    maps = splits_of(label_maps)
    name = None if maps is None else named_split(split, maps.places)
    seen = named_split(split, pictures.places)
    if maps is None or name is None or seen is None:
        raise DataError(
            f"{pictures.folder} holds the splits {', '.join(pictures.places)}, and {label_maps} has none called "
            f"{split!r}; name folders of one split with data.path, label_maps.path, data.val_path and "
            "label_maps.val_path"
        )
    return str(pictures.places[seen][0]), str(maps.places[name][0])


def open_scene_folder(
    pictures: str, label_maps: str, data: PictureSettings, settings: LabelMapSettings, classes: NamedClasses
) -> SceneFolder:
    """Open the scenes of two folders.

    Raises:
        ConfigError: If numbers are mapped to classes that are not there.
        DataError: If a folder is missing, there are no pictures, or pictures without a label map.
    """
    for name, place in {"data.path": pictures, "label_maps.path": label_maps}.items():
        if not Path(place).is_dir():
            raise DataError(
                f"{name} {place!r} is no folder; expected one of pictures, and one with a label map for each"
            )
    if not settings.suffix and Path(pictures).resolve() == Path(label_maps).resolve():
        raise ConfigError(
            f"data.path and label_maps.path are both {pictures!r}, so that pictures would be their own label maps; "
            "name two folders, or what the names of label maps end in with label_maps.suffix, such as _mask"
        )
    mapping = CITYSCAPES if settings.mapping == "cityscapes" else settings.mapping
    wrong = [value for value in (mapping or {}).values() if not 0 <= value < len(classes.names)]
    if wrong:
        raise ConfigError(
            f"label_maps.mapping gives the class {wrong[0]}; expected 0 to {len(classes.names) - 1}, one of the "
            f"{len(classes.names)} classes"
        )
    _check_numbers(settings, mapping or {})
    ids = LabelIds(len(classes.names), settings.reduce, mapping, frozenset(settings.ignored), classes.colours)
    return SceneFolder(
        Path(pictures), Path(label_maps), classes.names, ids, settings.picture_suffix, settings.suffix, data.min_side,
        settings.exif, band_options(data),
    )  # fmt: skip


def _check_numbers(settings: LabelMapSettings, mapping: Mapping[int, int]) -> None:
    """Refuse numbers that no label map has, and those that would have two meanings.

    Raises:
        ConfigError: Naming the first.
    """
    named = {"label_maps.mapping": mapping, "label_maps.ignored": settings.ignored}
    for setting, numbers in named.items():
        if outside := [number for number in numbers if not 0 <= number < MOST_NUMBERS]:
            raise ConfigError(f"{setting} names the number {outside[0]}; expected 0 to {MOST_NUMBERS - 1}")
    if settings.reduce and mapping:
        raise ConfigError("label_maps.reduce and label_maps.mapping are set; the mapping says it all: leave reduce out")
    if both := sorted(mapping.keys() & {*settings.ignored}):
        raise ConfigError(f"label_maps.mapping and label_maps.ignored both name {both[0]}; take it out of one of them")
