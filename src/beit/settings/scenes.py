"""Scenes that settings describe: pictures with label maps."""

from __future__ import annotations

from pathlib import Path

from beit.data import CITYSCAPES, LabelIds, NamedClasses, SceneFolder, read_classes
from beit.errors import ConfigError, DataError
from beit.settings.groups import DataSettings
from beit.settings.inputs import Sources, hold_out
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
    classes = read_classes(class_file(label_maps.classes))
    source = open_scene_folder(data.path, label_maps.path, data.min_side, label_maps, classes)
    if data.val_path is None or label_maps.val_path is None:
        return Sources(*hold_out(source, data.val_share, seed))
    return Sources(source, open_scene_folder(data.val_path, label_maps.val_path, data.min_side, label_maps, classes))


def open_scene_folder(
    pictures: str, label_maps: str, min_side: int, settings: LabelMapSettings, classes: NamedClasses
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
    mapping = CITYSCAPES if settings.mapping == "cityscapes" else settings.mapping
    wrong = [value for value in (mapping or {}).values() if not 0 <= value < len(classes.names)]
    if wrong:
        raise ConfigError(
            f"label_maps.mapping gives the class {wrong[0]}; expected 0 to {len(classes.names) - 1}, one of the "
            f"{len(classes.names)} classes"
        )
    ids = LabelIds(len(classes.names), settings.reduce, mapping, frozenset(settings.ignored), classes.colours)
    return SceneFolder(
        Path(pictures), Path(label_maps), classes.names, ids, settings.picture_suffix, settings.suffix, min_side
    )
