"""Scenes that settings describe: pictures with label maps."""

from __future__ import annotations

from pathlib import Path

from beit.data import CITYSCAPES, MaskIds, NamedClasses, SceneFolder, read_classes, split
from beit.errors import ConfigError, DataError
from beit.settings.groups import DataSettings
from beit.settings.inputs import Sources
from beit.settings.segment import LabelMapSettings, TrainingLabelMapSettings


def open_scenes(data: DataSettings, masks: TrainingLabelMapSettings, seed: int) -> Sources:
    """Open the scenes of a training.

    Raises:
        ConfigError: If settings are missing, or do not apply to masks.
        DataError: If there are no pictures, or pictures without a mask.
    """
    if data.labels is not None or data.val_labels is not None or data.per_class is not None:
        raise ConfigError("data.labels, data.val_labels or data.per_class is set; masks tell the classes: leave it out")
    if (data.val_path is None) != (masks.val_path is None):
        raise ConfigError(
            f"data.val_path is {data.val_path} and masks.val_path {masks.val_path}; expected both, or neither"
        )
    if masks.classes is None:
        raise ConfigError("masks.classes is missing; name a text file with the name of each class, one per line")
    classes = read_classes(masks.classes)
    source = open_scene_folder(data.path, masks.path, data.min_side, masks, classes)
    if data.val_path is None:
        return Sources(*split(source, data.val_share, seed))
    return Sources(source, open_scene_folder(data.val_path, masks.val_path, data.min_side, masks, classes))


def open_scene_folder(
    pictures: str | None, masks: str | None, min_side: int, settings: LabelMapSettings, classes: NamedClasses
) -> SceneFolder:
    """Open the scenes of two folders.

    Raises:
        ConfigError: If a folder is missing, or numbers are mapped to classes that are not there.
        DataError: If there are no pictures, or pictures without a mask.
    """
    named = {"data.path": pictures, "masks.path": masks}
    missing = [name for name, value in named.items() if value is None]
    if pictures is None or masks is None:
        raise ConfigError(
            f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing; name a folder of pictures "
            "and one of masks"
        )
    for name, place in named.items():
        if not Path(str(place)).is_dir():
            raise DataError(f"{name} {place!r} is no folder; expected one of pictures, and one with a mask for each")
    mapping = CITYSCAPES if settings.mapping == "cityscapes" else settings.mapping
    wrong = [value for value in (mapping or {}).values() if not 0 <= value < len(classes.names)]
    if wrong:
        raise ConfigError(
            f"masks.mapping gives the class {wrong[0]}; expected 0 to {len(classes.names) - 1}, one of the "
            f"{len(classes.names)} classes"
        )
    ids = MaskIds(len(classes.names), settings.reduce, mapping, frozenset(settings.ignored), classes.colours)
    return SceneFolder(
        Path(pictures), Path(masks), classes.names, ids, settings.picture_suffix, settings.mask_suffix, min_side
    )
