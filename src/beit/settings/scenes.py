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
    named_split,
    read_classes,
    splits_of,
)
from beit.errors import ConfigError, DataError
from beit.image import allow_pixels
from beit.settings.channels import band_options
from beit.settings.groups import DataSettings, PictureSettings
from beit.settings.inputs import Sources, hold_out, training_splits
from beit.settings.packaged import class_file
from beit.settings.segment import LabelMapSettings, TrainingLabelMapSettings


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
    return Sources(source, open_scene_folder(*measured, data, label_maps, classes))


def _places(data: DataSettings, label_maps: TrainingLabelMapSettings) -> tuple[tuple[str, str], tuple[str, str] | None]:
    """Return the folders of pictures and of label maps to train on, and those to validate on if there are any.

    Raises:
        DataError: If the pictures are divided into splits, and the label maps are not.
    """
    pictures = splits_of(data.path) if data.split != ALL else None
    own = (data.path, label_maps.path)
    if data.val_path is not None and label_maps.val_path is not None:
        validation = (data.val_path, label_maps.val_path)
    else:
        validation = None
    if pictures is None:
        return own, validation
    maps = splits_of(label_maps.path)
    learnt, measured = training_splits(data)

    def both(split: str) -> tuple[str, str]:
        name = None if maps is None else named_split(split, maps.places)
        seen = named_split(split, pictures.places)
        if maps is None or name is None or seen is None:
            raise DataError(
                f"{data.path} holds the splits {', '.join(pictures.places)}, and {label_maps.path} has none called "
                f"{split!r}; name folders of one split with data.path, label_maps.path, data.val_path and "
                "label_maps.val_path"
            )
        return str(pictures.places[seen][0]), str(maps.places[name][0])

    if learnt is None:
        return own, validation
    return both(learnt), validation or (None if measured is None else both(measured))


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
