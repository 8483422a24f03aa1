"""Splits of a collection: folders or files called train, val and test, which are no classes."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from beit.data.sources.folder import holds_pictures
from beit.data.sources.parquet.saved import saved_splits
from beit.data.sources.split_names import are_splits, named_split, split_kind, subset_and_split
from beit.errors import DataError
from beit.image import pictures_in, visible_folders

SHARDS = (".parquet", ".tar")
ALL = "all"  # splits


@dataclass(frozen=True)
class Splits:
    """Splits of a folder, or of the rows of a table.

    Attributes:
        folder: The folder, or the table, that was named.
        places: For each split by name, its folder, or its files; of rows none.
        others: What lies beside them with pictures and is no split: folders by name, and the number of pictures.
    """

    folder: str
    places: dict[str, list[Path]]
    others: Sequence[str] = ()

    def names(self, kind: str) -> list[str]:
        """Return the splits of a kind: "train", "validation" or "test"."""
        return [name for name in self.places if split_kind(name.rpartition("/")[2]) == kind]


def chosen_split(path: str, names: Collection[str], split: str | None) -> str:
    """Return the split that is meant.

    Raises:
        DataError: If none is named, or one that is not there.
    """
    name = None if split is None else named_split(split, names)
    if name is None:
        asked = "" if split is None else f", and not one of {split!r}"
        raise DataError(
            f"{path} holds the splits {', '.join(names)}{asked}; name one with data.split, or set it to all to mix them"
        )
    return name


def find_splits(folder: Path) -> Splits | None:
    """Return the splits of a folder, also of the only folder with pictures inside it; None if it has none.

    Raises:
        DataError: If classes hold splits, rather than splits classes.
    """
    if names := saved_splits(folder):
        return Splits(str(folder), {name: [folder / name] for name in names})
    if (shards := shards_below(folder)) and (found := _of_shards(folder, shards)):
        return found
    return None if shards else _of_folders(folder)


def shards_below(folder: Path) -> list[Path]:
    """Return the parquet and tar files in a folder; if there are none, nor pictures, those in folders inside it."""
    direct = sorted(path for path in folder.iterdir() if _is_shard(path))
    if direct or holds_pictures(folder):
        return direct
    return sorted(path for path in folder.rglob("*") if _is_shard(path) and not _hidden(path, folder))


def _is_shard(path: Path) -> bool:
    return path.suffix.lower() in SHARDS and path.name[0] != "." and path.is_file()


def _hidden(path: Path, folder: Path) -> bool:
    return any(part[0] == "." for part in path.relative_to(folder).parts)


def _of_shards(folder: Path, shards: Sequence[Path]) -> Splits | None:
    places: dict[str, list[Path]] = {}
    for path in shards:
        name = "/".join(subset_and_split(PurePosixPath(path.relative_to(folder)).as_posix()))
        places.setdefault(name, []).append(path)
    return Splits(str(folder), places) if are_splits(name.rpartition("/")[2] for name in places) else None


def _of_folders(folder: Path) -> Splits | None:
    place = folder
    while True:
        names = visible_folders(place)
        if are_splits(names):
            found = {name: [place / name] for name in names if split_kind(name) and holds_pictures(place / name)}
            if are_splits(found):
                others = [name for name in names if name not in found and holds_pictures(place / name)]
                if beside := pictures_in(place):
                    others.append(f"{beside:,} picture{'s' * (beside != 1)} beside them")
                return Splits(str(folder), found, others)
        inner = _first_two_with_pictures(place, names)
        if len(inner) != 1:
            if inner:
                _refuse_inside_out(folder, place / inner[0])
            return None
        place = place / inner[0]


def _first_two_with_pictures(place: Path, names: Sequence[str]) -> list[str]:
    inner: list[str] = []
    for name in names:
        if len(inner) < 2 and holds_pictures(place / name):
            inner.append(name)
    return inner


def _refuse_inside_out(folder: Path, one: Path) -> None:
    """Refuse splits inside of classes, the pictures of which would be mixed."""
    names = visible_folders(one)
    if are_splits(names):
        shown = ", ".join(f"{one.relative_to(folder)}/{name}" for name in names if split_kind(name))
        raise DataError(
            f"{folder} holds splits inside of its classes ({shown}); expected classes inside of splits: move them, "
            "list the pictures of a split in a file for data.labels, or set data.split to all to mix them"
        )
