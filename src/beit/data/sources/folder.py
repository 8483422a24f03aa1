"""Folder of pictures as a collection, in which folders are classes."""

from __future__ import annotations

import os
import re
from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from beit.data.sources.folder_index import PathList, listed
from beit.data.sources.key_folders import place_of_label, value_of
from beit.data.sources.source import ImageSource, Labels, spaced, still_there
from beit.data.sources.split_names import almost_splits
from beit.errors import GoneError
from beit.files import end_of, read_regular, size_of
from beit.image import (
    ARRAYS,
    EXTENSIONS,
    MOST_BYTES,
    BandOptions,
    LazyPicture,
    PassedOver,
    endings_of,
    explained,
    no_pictures,
    open_image,
    say_passed_over,
    visible_folders,
    walk_pictures,
)

_SHOWN = 5  # names in a message
_LOOKED_AT = 1000  # names that are looked at
_MANY = 10  # classes
_BAND = re.compile(
    r"(?<![a-z0-9])(B\d{1,2}A?|band[-_ ]?\d{1,2}|red|green|blue|nir\d?|swir\d?|red[-_]?edge\d?|pan)(?![a-z0-9])",
    re.IGNORECASE,
)
_BANDS = 3  # of one name, that two other words hardly are
_MAP = re.compile(
    r"(.+?)[-_. ]+(masks?|labels?|labelids|gt|seg|anno|annotation|groundtruth|segmentation)", re.IGNORECASE
)


class FolderSource(ImageSource):
    """All pictures below a folder, in the order of their paths; what is not read of it is printed.

    If every picture lies in a folder inside it, the first-level folders are the classes; otherwise there are no labels.
    A single folder around folders is no class: those inside it are.

    Args:
        folder: The folder.
        min_side: Pictures with a shorter side, in pixels, count as broken.
        known: Classes that are known, which a single folder may be one of.
        labelled: Whether folders are classes at all.
        bands: Reading of pictures of other than three channels, which may be arrays; None: as RGB.
    """

    def __init__(
        self,
        folder: Path,
        min_side: int = 8,
        known: Sequence[str] | None = None,
        labelled: bool = True,
        bands: BandOptions | None = None,
    ) -> None:
        self._folder = folder
        self._min_side, self.bands = min_side, bands
        passed_over, endings = PassedOver(), endings_of(bands)
        self._paths = listed(folder, endings, passed_over)
        if not len(self._paths):
            raise no_pictures(folder, passed_over, endings)
        if not labelled:
            say_passed_over(folder, passed_over)
            return
        around = _around(self._paths, frozenset(known or ()))
        self.classes, self.labels = _classes(self._paths, around)
        if around and len(self.classes or ()) < 2:  # folders inside of the only class
            around, (self.classes, self.labels) = "", _classes(self._paths, "")
        say_passed_over(folder, passed_over, *self._remarks(around))

    def __len__(self) -> int:
        return len(self._paths)

    def name(self, index: int) -> str:
        """Return the path."""
        return str(self._folder / self._paths[index])

    def open(self, index: int) -> LazyPicture:
        """Return the picture, as yet undecoded."""
        name = self.name(index)
        with explained(name, GoneError), still_there(name):
            content = read_regular(name, MOST_BYTES)
        return open_image(content, name, self._min_side, self.bands)

    def contents(self) -> Iterator[str]:
        """Yield the relative path and the size of every file."""
        for path in self._paths:
            yield f"{path} {size_of(self._folder / path)}"

    def sampled(self, most: int) -> list[str]:
        """Return path, size and a hash of the end of some files."""
        paths = [self._paths[index] for index in spaced(len(self._paths), most)]
        return [f"{path} {end_of(self._folder / path)}" for path in paths]

    def _remarks(self, around: str) -> Iterator[str]:
        """Yield lines about what is taken as classes, and about folders of which nothing is read."""
        yield from _strange_names(list(islice(self._paths, _LOOKED_AT)))
        if around:
            yield f"it holds one folder, {around}, whose folders are taken as the classes"
        if self.classes is None:
            yield from _outside(self._paths)
            return
        if place_of_label(self._paths[0].split(os.sep)[:-1]) is not None:  # they are parts of the names of folders
            return
        known = set(self.classes)
        empty = [name for name in visible_folders(self._folder / around) if name not in known]
        if empty:
            yield f"no class, because nothing is read of it: {_listed(empty)}"
        alone = int((np.bincount(self.labels) == 1).sum()) if self.labels is not None else 0
        if len(self.classes) >= _MANY and 2 * alone > len(self.classes):
            yield (
                f"{alone:,} of {len(self.classes):,} classes have a single picture; if folders are cases, such as "
                "patients, name a file of labels with data.labels"
            )
        if almost_splits(self.classes):
            yield f"{_listed(self.classes)} are taken as the classes; if they are splits, name one with data.path"
        if shared := _shared_folders(self._folder / around, self.classes):
            yield (
                f"{_listed(self.classes)} are taken as the classes, and each holds the folders {_listed(shared)}; if "
                "these are the classes, name one of the others with data.path, and one with data.val_path"
            )


def _around(paths: Iterable[str], known: frozenset[str]) -> str:
    """Return the folder, such as `images/photos`, that holds all pictures, and these in folders; "" for none."""
    common: list[str] | None = None
    for path in paths:
        folders = path.split(os.sep)[:-2]  # the last one would be the class
        common = folders if common is None else common[: _agree(common, folders)]
        if not common:
            return ""
    found = common or []
    return os.sep.join(found) if found and found[0] not in known else ""


def _agree(first: Sequence[str], second: Sequence[str]) -> int:
    """Return how many items two lists begin with in common."""
    return next(
        (at for at, (a, b) in enumerate(zip(first, second, strict=False)) if a != b), min(len(first), len(second))
    )


def _classes(paths: PathList, around: str) -> tuple[list[str] | None, Labels | None]:
    """Return the names of the classes and the class of every picture; nothing if a picture lies in none."""
    first = next(iter(paths)).split(os.sep)[:-1]
    if (place := place_of_label(first)) is not None:
        return _numbered(_keyed(paths, place, first[place].partition("=")[0]))
    skipped = len(around) + len(os.sep) if around else 0
    return _numbered(path[skipped:end] if (end := path.find(os.sep, skipped)) >= 0 else None for path in paths)


def _keyed(paths: Iterable[str], place: int, key: str) -> Iterator[str | None]:
    """Yield the class of every picture by the folder `key=value` at one place of its path."""
    for path in paths:
        folders = path.split(os.sep)[:-1]
        name = folders[place] if place < len(folders) else ""
        yield value_of(name) if name.partition("=")[0] == key and "=" in name else None


def _numbered(names: Iterable[str | None]) -> tuple[list[str] | None, Labels | None]:
    """Return the distinct names in order and the number of each; nothing if one is None."""
    numbers: dict[str, int] = {}
    labels = array("i")
    for name in names:
        if name is None:
            return None, None
        labels.append(numbers.setdefault(name, len(numbers)))
    classes = sorted(numbers)
    place = np.empty(len(classes), np.int64)  # what torch takes for classes
    place[[numbers[name] for name in classes]] = np.arange(len(classes))
    return classes, place[np.frombuffer(labels, np.int32)]


def _strange_names(paths: Sequence[str]) -> Iterator[str]:
    """Yield lines about names that programs on Windows wrote, label maps beside pictures, and files of single bands."""
    if slashed := [path for path in paths if "\\" in path]:
        yield (
            f"names such as {slashed[0]} hold backslashes, which are no folders here; if an archive of Windows was "
            "unpacked, unpack it again (7z x), or move these files into folders"
        )
    stems = {os.path.splitext(path)[0] for path in paths}
    found = [path for path in paths if (map_of := _MAP.fullmatch(os.path.splitext(path)[0])) and map_of[1] in stems]
    if found:
        yield (
            f"files such as {found[0]} are called like another picture, and are taken as pictures; if they are label "
            "maps, move them to a folder of their own"
        )
    bands: dict[str, list[str]] = {}
    for path in paths:
        folder, _, name = path.rpartition(os.sep)
        if (rest := _BAND.sub("", os.path.splitext(name)[0], count=1)) != os.path.splitext(name)[0]:
            bands.setdefault(f"{folder}{os.sep}{rest}", []).append(path)
    if several := next((found for found in bands.values() if len(found) >= _BANDS), None):
        yield (
            f"files such as {_listed(several)} are taken as a picture each; if they are bands of one, stack them into "
            "one file (gdal_merge.py -separate, or a .npy), and set data.channels"
        )


def _outside(paths: PathList) -> Iterator[str]:
    """Yield a line about pictures that lie beside folders of pictures, if they are the smaller part."""
    count, shown = 0, list[str]()  # not all of them: there may be millions
    for path in paths:
        if os.sep not in path:
            count += 1
            shown += [path] if len(shown) <= _SHOWN else []
    if 0 < 2 * count < len(paths):
        yield f"folders are no classes, because {count:,} of the pictures lie in none: {_listed(shown)}"


def _shared_folders(place: Path, classes: Sequence[str]) -> list[str]:
    """Return the folders, two at least, that every class has, as splits with names of their own would."""
    shared: list[str] | None = None
    for name in classes:
        inner = visible_folders(place / name)
        if len(inner) < 2 or shared not in (None, inner):
            return []
        shared = inner
    return shared if shared is not None and len(classes) > 1 else []


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + ", ..." * (len(names) > _SHOWN)


def holds_pictures(folder: Path) -> bool:
    """Return whether there are pictures, or arrays that may be some, below a folder."""
    return next(walk_pictures(folder, EXTENSIONS | ARRAYS), None) is not None
