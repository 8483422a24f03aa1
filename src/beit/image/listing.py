"""Listing of the picture files below a folder, the same for training and prediction, with what is passed over."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from beit.errors import DataError
from beit.image.formats import EXTENSIONS

# Folders and files that systems and programs leave beside pictures.
SYSTEM_FOLDERS = frozenset(
    {"@eadir", "#recycle", "$recycle.bin", "system volume information", "lost+found", "__macosx", "__pycache__"}
    | {"thumbnails", "_thumbnails", "thumbs"}
)
_SYSTEM_FILES = frozenset({"thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r"})
_EXTRAS = {".heic": "heic", ".heif": "heic", ".hif": "heic", ".dcm": "dicom", ".dicom": "dicom"}
PACKED = frozenset({".zip", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar", ".zst"})  # endings of archives
_SHOWN, _ENDINGS_SHOWN = 5, 20  # folders and endings in a message

FolderState = tuple[int, int, int]


@dataclass
class PassedOver:
    """Files and folders that are not read.

    Attributes:
        endings: Number of files of each ending.
        folders: Folders of systems and programs, which are not looked into.
    """

    endings: Counter[str] = field(default_factory=Counter[str])
    folders: list[str] = field(default_factory=list[str])

    def __str__(self) -> str:
        """Return a line such as `12 files passed over: 8 .heic (pip install -e '.[heic]'), 4 .txt`; "" for nothing."""
        parts: list[str] = []
        if count := self.endings.total():
            kinds = [f"{number:,} {_described(ending)}" for ending, number in self.endings.most_common(_ENDINGS_SHOWN)]
            more = ", ..." * (len(self.endings) > _ENDINGS_SHOWN)
            parts.append(f"{count:,} file{'s' * (count != 1)} passed over: {', '.join(kinds)}{more}")
        if self.folders:
            more = ", ..." * (len(self.folders) > _SHOWN)
            parts.append(f"folders of systems and programs passed over: {', '.join(self.folders[:_SHOWN])}{more}")
        return "; ".join(parts)


def _described(ending: str) -> str:
    if ending in _EXTRAS:
        return f"{ending} (pip install -e '.[{_EXTRAS[ending]}]')"
    return ending or "without an ending"


def say_passed_over(folder: str | Path, passed_over: PassedOver, *remarks: str) -> None:
    """Print what is not read of a folder, and further remarks, once for all processes."""
    line = "; ".join(filter(None, (str(passed_over), *remarks)))
    if line and os.environ.get("RANK", "0") == "0":
        print(f"{folder}: {line}", file=sys.stderr)  # noqa: T201  # results go to the other stream


def picture_files(folder: str | Path, endings: frozenset[str] = EXTENSIONS) -> list[Path]:
    """Return the picture files below a folder, in the order of their paths, and print what is passed over.

    Args:
        folder: The folder; what is hidden in it is left out, and links to other folders are followed.
        endings: Which files count, by their lower-case endings.

    Raises:
        DataError: If there are none.
    """
    passed_over = PassedOver()
    found = sorted(Path(folder) / path for path in walk_pictures(folder, endings, passed_over))
    if not found:
        raise no_pictures(folder, passed_over, endings)
    say_passed_over(folder, passed_over)
    return found


def no_pictures(folder: str | Path, passed_over: PassedOver, endings: frozenset[str] = EXTENSIONS) -> DataError:
    """Return the error for a folder in which nothing is read."""
    line = f" ({passed_over})" if str(passed_over) else ""
    remedy = ": unpack them" if passed_over.endings.keys() & PACKED else ""
    return DataError(
        f"there are no pictures in {folder}{line}; expected endings such as {', '.join(sorted(endings))}{remedy}"
    )


def walk_pictures(
    folder: str | Path,
    endings: frozenset[str] = EXTENSIONS,
    passed_over: PassedOver | None = None,
    walked: dict[str, FolderState] | None = None,
) -> Iterator[str]:
    """Yield the picture files below a folder in the order of their paths inside it, by these paths.

    One folder is in memory at a time, so that a collection may have millions of files.

    Args:
        folder: The folder.
        endings: Which files count, by their lower-case endings.
        passed_over: Receives what is not read.
        walked: Receives the real path of every folder that is listed, with its state just before.

    Raises:
        DataError: If a folder cannot be listed.
    """
    passed_over, walked = PassedOver() if passed_over is None else passed_over, {} if walked is None else walked
    yield from _walk(str(folder), "", walked, endings, passed_over)


def folder_state(folder: str) -> FolderState:
    """Return the device and number of a folder, and when a name in it changed last, in ns; zeros if it is not there."""
    try:
        found = os.stat(folder)
    except OSError:
        return 0, 0, 0
    return found.st_dev, found.st_ino, found.st_mtime_ns


def _walk(
    place: str, prefix: str, seen: dict[str, FolderState], endings: frozenset[str], passed_over: PassedOver
) -> Iterator[str]:
    real = os.path.realpath(place)
    if real in seen:  # a link may lead back to where it stands
        return
    seen[real] = folder_state(real)
    for name in _entries(place):  # sorted with the "/" behind folders, which is the order of whole paths
        if name[-1] == os.sep:
            if name[:-1].lower() in SYSTEM_FOLDERS:
                passed_over.folders.append(prefix + name[:-1])
            else:
                yield from _walk(os.path.join(place, name[:-1]), prefix + name, seen, endings, passed_over)
        elif (ending := _ending(name)) in endings:
            yield prefix + name
        elif name.lower() not in _SYSTEM_FILES:
            passed_over.endings[ending] += 1


def _ending(name: str) -> str:
    """Return `os.path.splitext(name)[1].lower()` of a name that does not begin with a dot, in a third of the time."""
    _, dot, ending = name.rpartition(".")
    return dot + ending.lower() if dot else ""


def _entries(place: str) -> list[str]:
    """Return the names in a folder but for hidden ones, in order; those of folders end in the separator."""
    try:
        with os.scandir(place) as entries:
            return sorted(
                entry.name + os.sep if entry.is_dir() else entry.name for entry in entries if entry.name[0] != "."
            )
    except OSError as error:
        raise DataError(f"{place} cannot be listed: {error.strerror or error}; expected a folder to read") from None


def pictures_in(folder: str | Path) -> int:
    """Return how many picture files lie in a folder itself, not in those inside it.

    Raises:
        DataError: If it cannot be listed.
    """
    return sum(_ending(name) in EXTENSIONS for name in _entries(str(folder)))


def visible_folders(folder: str | Path) -> list[str]:
    """Return the names of the folders in a folder, but for hidden ones and those of systems and programs.

    Raises:
        DataError: If it cannot be listed.
    """
    names = [name[:-1] for name in _entries(str(folder)) if name[-1] == os.sep]
    return [name for name in names if name.lower() not in SYSTEM_FOLDERS]
