"""Names of folders that are no classes: splits (train, val, test and the like), and pictures beside label maps."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from beit.errors import DataError

SPLIT_NAMES: Mapping[str, tuple[str, ...]] = {
    "train": ("train", "training", "trn", "trainset"),
    "validation": ("validation", "valid", "val", "dev", "eval", "evaluation", "valset", "devset", "holdout", "heldout"),
    "test": ("test", "testing", "tst", "testset"),
}
_KIND_OF = {name: kind for kind, names in SPLIT_NAMES.items() for name in names}
_BESIDE = frozenset({"images", "image", "imgs", "img", "pictures", "data", "set", "split", "seg"})
_PICTURES = frozenset({"images", "image", "imgs", "img", "pictures", "photos", "jpegimages", "leftimg8bit", "rgb"})
_MAPS = frozenset(
    {"masks", "mask", "labels", "label", "labelmaps", "annotations", "annotation", "annots", "segmentation", "gt"}
    | {"segmentations", "segmentationclass", "segmentationobject", "groundtruth", "gtfine", "gtcoarse", "targets"}
)
_COLUMNS = frozenset({"split", "subset", "set", "partition", "phase", "part", "datasplit", "datasetsplit", "splitname"})
_NUMBERED_COLUMNS = _COLUMNS - {"set", "phase", "part"}  # numbers in the others are hardly splits
_YES_OR_NO = re.compile(r"i[sn](?P<split>[a-z]+?)(set|split|data|image|images|img|sample|samples)?")
_SAID_BY = {"train": ("train", "test"), "test": ("test", "train"), "validation": ("val", "train")}
_YES, _NO = ("true", "1", "1.0", "yes"), ("false", "0", "0.0", "no")
_NUMBERS = {"0", "1", "2", "0.0", "1.0", "2.0"}
_WORDS = re.compile(r"[a-z]+")
_NUMBERED = re.compile(r"(?P<split>\w+(?:\.\w+)*)-\d+-of-\d+")
_BETWEEN = re.compile(r"[-_. ]")
_PLAIN_FOLDER = "data"


def split_kind(name: str) -> str | None:
    """Return "train", "validation" or "test" for a name such as `train2017`, `Test set` or `val_images`, else None."""
    words = _WORDS.findall(name.lower())
    found = [word for word in words if word in _KIND_OF]
    rest = [word for word in words if word not in _KIND_OF and word not in _BESIDE]
    return _KIND_OF[found[0]] if len(found) == 1 and not rest else None


def are_splits(names: Iterable[str]) -> bool:
    """Return whether some names are those of splits: of two kinds, as no classes have."""
    return len({kind for name in names if (kind := split_kind(name)) is not None}) > 1


def is_split_column(name: str) -> bool:
    """Return whether a column of this name may divide the rows of a table into splits."""
    return _plain(name) in _COLUMNS or _yes_and_no(name) is not None


def _yes_and_no(column: str) -> tuple[str, str] | None:
    """Return the splits that true and false stand for in a column such as `is_training_image`; None for others."""
    match = _YES_OR_NO.fullmatch(_plain(column))
    kind = _KIND_OF.get(match["split"] if match is not None else "")
    return None if kind is None else _SAID_BY[kind]


def rows_of_splits(column: str, cells: Sequence[object]) -> list[str] | None:
    """Return the split of every row by its cell in a column; None if the column does not divide them.

    Raises:
        DataError: If it does, and some cells are empty, or hold numbers, which do not say which split they mean.
    """
    values = ["" if cell is None else str(cell).strip() for cell in cells]
    empty = values.count("")
    if empty and rows_of_splits(column, [value for value in values if value]) is not None:
        raise DataError(
            f"the column {column!r} divides the rows into splits, and {empty} of {len(values)} are of none; expected "
            "one for each: fill them in, or set data.split to all"
        )
    names = {value: value for value in values}
    if _plain(column) in _NUMBERED_COLUMNS and len(found := set(values)) > 1 and found <= _NUMBERS:
        raise DataError(
            f"the column {column!r} holds {', '.join(sorted(found))}, and does not say which splits these are; "
            "expected train, val and test: write these, or set data.split to all to take all rows"
        )
    if (two := _yes_and_no(column)) is not None:
        names = {name: two[name.lower() in _NO] for name in names if name.lower() in (*_YES, *_NO)}
    if not are_splits(names.values()) or not all(value in names and split_kind(names[value]) for value in set(values)):
        return None
    return [names[value] for value in values]


def almost_splits(names: Iterable[str]) -> bool:
    """Return whether some names may be those of splits in other words: `xtrain` and `xtest`, `tr` and `te`."""
    plain = [name.lower() for name in names]
    learn, held_out = (
        [name for name in plain if name in short or name.endswith(long) or name.startswith(long)]
        for short, long in ((("tr",), ("train",)), (("te", "ts", "va"), ("test", "val", "eval")))
    )
    return bool(learn) and bool(held_out)


def are_scenes(names: Iterable[str]) -> bool:
    """Return whether some names are those of folders of pictures and of their label maps, and of nothing else."""
    kinds = {_scene_kind(name) for name in names}
    return "maps" in kinds and len(kinds) > 1 and None not in kinds


def _scene_kind(name: str) -> str | None:
    """Return "pictures" for names such as `images` and `train`, "maps" for `masks` and `train_masks`, else None."""
    plain = _plain(name)
    split, rest = _of_split(plain)
    if plain in _MAPS or (split and rest in _MAPS):
        return "maps"
    return "pictures" if plain in _PICTURES or (split and rest in _PICTURES | {""}) else None


def _of_split(plain: str) -> tuple[bool, str]:
    """Return whether a name begins or ends in that of a split, and the rest of it."""
    words = [word for word in _KIND_OF if plain.startswith(word) or plain.endswith(word)]
    if not words:
        return False, plain
    word = max(words, key=len)
    return True, plain.removeprefix(word) if plain.startswith(word) else plain.removesuffix(word)


def pictures_and_maps(names: Iterable[str]) -> tuple[str, str] | None:
    """Return the folder of pictures and that of their label maps, where some names are one of each and nothing else."""
    names = sorted(names, key=lambda name: _scene_kind(name) == "maps")
    return (names[0], names[1]) if len(names) == 2 and are_scenes(names) else None


def _plain(name: str) -> str:
    return re.sub(r"[-_ ]", "", name.lower())


def named_split(wanted: str, names: Iterable[str]) -> str | None:
    """Return the one of some splits that a name means: its own, or the only one of the kind that it stands for."""
    names = list(names)
    if wanted in names:
        return wanted
    kind = split_kind(wanted)
    alike = [name for name in names if kind is not None and split_kind(name.rpartition("/")[2]) == kind]
    return alike[0] if len(alike) == 1 else None


def subset_and_split(file: str) -> tuple[str, ...]:
    """Return (split) or (folder of the subset, split) of a file, by its path with "/" between its parts."""
    *folders, base = file.split("/")
    stem = base.rpartition(".")[0]
    numbered = _NUMBERED.fullmatch(stem)
    if numbered is not None:
        return (*_subset(folders), numbered["split"])
    for depth in range(len(folders), -1, -1):  # the file first, then its folders from the innermost
        name = _BETWEEN.split([*folders, stem][depth].removeprefix("split="))[0]
        if name.lower() in _KIND_OF:
            return (*_subset(folders[:depth]), name)
    return (*_subset(folders), "train")


def _subset(folders: Sequence[str]) -> tuple[str, ...]:
    return tuple(folder for folder in folders if folder != _PLAIN_FOLDER)
