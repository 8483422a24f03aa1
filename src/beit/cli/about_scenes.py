"""Accounts of pictures that are not photographs alone: label maps, pictures beside theirs, arrays, and many bands.

Legend: H x W pixels, C channels.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np

from beit.cli.about import About, listed, word
from beit.data import pictures_and_maps, split_kind
from beit.errors import DataError
from beit.image import ARRAYS, bands_beyond_pillow, explained, opened_picture, visible_folders, walk_pictures

_LOOKED_AT = 8  # files of a folder
_FLAT = 0.9  # share of equal neighbours: regions have such, photographs do not
_CLASSES = "--label_maps.classes CLASSES.txt"


def about_scenes(path: str) -> About | None:
    """Return the account of a folder of pictures and of their label maps, split by split; None for other folders."""
    pairs = {name: (pictures, maps) for name, (pictures, maps) in _pairs(Path(path)) if _count(maps)}
    if not pairs:  # or `labels` holds boxes, in text
        return None
    rows = [
        (name or "pictures", f"{_count(pictures):,} in {pictures}, {_count(maps):,} label maps in {maps}")
        for name, (pictures, maps) in pairs.items()
    ]
    kinds = {split_kind(name): pair for name, pair in pairs.items()}
    pictures, maps = kinds.get("train", next(iter(pairs.values())))
    words = [f"beit segment --data.path {word(pictures)} --label_maps.path {word(maps)}"]
    if "train" in kinds and "validation" in kinds:
        held_out, their_maps = kinds["validation"]
        words.append(f"--data.val_path {word(held_out)} --label_maps.val_path {word(their_maps)}")
    return About("pictures and their label maps", rows, [" ".join((*words, _CLASSES)), f"beit info {word(maps)}"])


def about_label_maps(path: str) -> About | None:
    """Return the account of a folder, or one file, of label maps; None for pictures.

    Label maps are files of one number per pixel, without losses, in which most neighbours are equal.
    """
    place = Path(path)
    files = [place] if place.is_file() else [place / name for name in islice(walk_pictures(place), _LOOKED_AT)]
    numbers = [_numbers_of_map(file) for file in files]
    if not files or None in numbers:
        return None
    found = sorted({number for one in numbers if one is not None for number in one})
    rows = [] if place.is_file() else [("label maps", f"{_count(place):,}")]
    rows += [
        ("numbers", f"{listed([str(number) for number in found])}{'' if place.is_file() else ' (of the first files)'}"),
        ("no class", "255; label_maps.ignored adds other numbers, label_maps.reduce takes 0 for it"),
    ]
    folder = place.parent if place.is_file() else path
    step = f"beit segment --data.path PICTURES --label_maps.path {word(folder)} {_CLASSES}"
    return About(
        f"{'a label map' if place.is_file() else 'label maps'}, as it seems: the class of every pixel", rows, [step]
    )


def about_arrays(path: str) -> About | None:
    """Return the account of arrays that are pictures of any channels, of a file or a folder; None of others."""
    place = Path(path)
    files = [place / name for name in walk_pictures(place, ARRAYS)] if place.is_dir() else [place]
    if not files:
        return None
    first_HWC = _array(files[0])
    if first_HWC.ndim not in (2, 3):
        raise DataError(
            f"{files[0]} is an array of shape {first_HWC.shape}; expected pictures of (height, width, channels)"
        )
    channels = first_HWC.shape[2] if first_HWC.ndim == 3 else 1
    rows = [
        ("pictures", f"{len(files):,}"),
        ("the first", f"{first_HWC.shape[0]} x {first_HWC.shape[1]} pixels, {channels} channels of {first_HWC.dtype}"),
        ("its values", f"{first_HWC.min():g} to {first_HWC.max():g}"),
    ]
    return About("a picture as an array" if place.is_file() else "pictures as arrays", rows, _steps(place, channels))


def about_bands(path: str) -> About | None:
    """Return the account of TIFF files of more bands than Pillow reads, of a file or a folder; None of others."""
    place = Path(path)
    first = place if place.is_file() else next((place / name for name in walk_pictures(place)), None)
    try:
        with explained(first):
            found = None if first is None else bands_beyond_pillow(first)
    except DataError:  # a broken one
        return None
    if found is None:
        return None
    height, width, bands, dtype = found
    rows = [("the first", f"{height} x {width} pixels, {bands} bands of {dtype}")]
    if place.is_file():
        return About("a picture of many bands", rows, _steps(place, bands))
    return About("pictures of many bands", [("pictures", f"{_count(place):,}"), *rows], _steps(place, bands))


def _steps(place: Path, channels: int) -> list[str]:
    """Return commands that take a file, or a folder, of pictures of other than three channels."""
    if place.is_file():
        return [f"beit predict MODEL {word(place)}"]
    read = f"{word(place)} --data.channels {channels} --data.value_range '[LOWEST, HIGHEST]'"
    return [f"beit statistics --data.path {read}", f"beit pretrain --data.path {read} --tokenizer.path TOKENIZER"]


def _pairs(folder: Path) -> Iterator[tuple[str, tuple[Path, Path]]]:
    """Yield the folders of pictures and of label maps by their split, "" without: splits are around them, or inside."""
    names = visible_folders(folder) if folder.is_dir() else []
    if (both := pictures_and_maps(names)) is None:
        inner = {name: pictures_and_maps(visible_folders(folder / name)) for name in names if split_kind(name)}
        yield from ((name, (folder / name / two[0], folder / name / two[1])) for name, two in inner.items() if two)
        return
    pictures, maps = folder / both[0], folder / both[1]
    splits = [name for name in visible_folders(pictures) if split_kind(name) and (maps / name).is_dir()]
    yield from ((name, (pictures / name, maps / name)) for name in splits)
    if not splits:
        yield "", (pictures, maps)


def _count(folder: Path) -> int:
    return sum(1 for _ in walk_pictures(folder))


def _numbers_of_map(file: Path) -> list[int] | None:
    """Return the numbers in a label map, None for a picture."""
    try:
        with explained(file), opened_picture(file) as image:
            if image.mode not in ("L", "P", "I", "I;16") or image.format in ("JPEG", "MPO"):
                return None
            numbers_HW = np.asarray(image)
    except DataError:  # a broken one, or one of another reader, as DICOM
        return None
    flat = [np.mean(numbers_HW[1:] == numbers_HW[:-1]), np.mean(numbers_HW[:, 1:] == numbers_HW[:, :-1])]
    return np.unique(numbers_HW).tolist() if min(flat) >= _FLAT else None


def _array(file: Path) -> np.ndarray:
    """Return the array in a file; nothing is unpickled."""
    with explained(file):
        found = np.load(file, mmap_mode="r", allow_pickle=False)
        if isinstance(found, np.ndarray):
            return found
        if len(found.files) != 1:
            names = ", ".join(found.files[:_LOOKED_AT])
            raise DataError(
                f"{file} holds {len(found.files)} arrays ({names}); expected one of (height, width, channels): save "
                "every picture to a .npy or .png of its own, in the folder of its class"
            )
        return found[found.files[0]]
