"""Opening of data paths: a folder, parquet or tar files, a pattern of them, a data set of the hub, the digits."""

from __future__ import annotations

import glob
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import NoReturn

from beit.data.class_names import check_class_names
from beit.data.sources.digits import DIGITS, DigitsSource
from beit.data.sources.folder import FolderSource, holds_pictures
from beit.data.sources.hub.files import PREFIX
from beit.data.sources.hub.shards import HubSource, hub_rows, open_hub
from beit.data.sources.parquet.columns import say_other_labels
from beit.data.sources.parquet.file import ParquetSource
from beit.data.sources.parquet.saved import SavedSource, is_saved
from beit.data.sources.parquet.shards import ParquetFolder
from beit.data.sources.parquet.split_column import DividedRows, divided_rows
from beit.data.sources.shard_file import ShardFile, folder_of
from beit.data.sources.source import ImageSource, Subset
from beit.data.sources.split_names import are_scenes
from beit.data.sources.tar.shards import TarSource
from beit.data.splits import ALL, SHARDS, Splits, chosen_split, find_splits, shards_below
from beit.errors import DataError, missing_data
from beit.files import check_path
from beit.files.patterns import expanded, is_pattern
from beit.hub import RemoteFile, is_remote, remote_matches
from beit.image import BandOptions, PassedOver, say_passed_over

_SHOWN = 5  # names in a message
_WORDNET = re.compile(r"n\d{8}")  # names of ImageNet's classes
_COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst")


@dataclass(frozen=True)
class _Reading:
    """Reading of a collection, see `open_source`."""

    min_side: int
    columns: Sequence[str]
    known: Sequence[str] | None
    split: str | None
    bands: BandOptions | None


def open_source(
    path: str,
    min_side: int = 8,
    split: str | None = None,
    known: Sequence[str] | None = None,
    columns: Sequence[str] = (),
    bands: BandOptions | None = None,
) -> ImageSource:
    """Open a collection of pictures.

    Args:
        path: "digits:train" or "digits:test" (embedded); "hub:owner/name" with an optional ":split" and "@revision"; a
            `.parquet` or `.tar` file, a folder of such files, or a pattern such as `train-{000..099}.tar`, all of these
            also on `s3://`, `gs://` and `https://`; a folder that `save_to_disk` wrote; or a folder of pictures, in
            which folders are classes.
        min_side: Pictures with a shorter side, in pixels, count as broken.
        split: Split to open of a folder that holds several, such as train and val, or of the rows of parquet files that
            a column divides; "all": the pictures of all of them, as if they were none.
        known: Classes that are known, one of which may be all that a folder has.
        columns: Names of the columns of pictures and of labels in parquet files; empty: the usual ones.
        bands: Reading of pictures of other than three channels, in folders and tar files also of arrays; None: as RGB.

    Raises:
        DataError: If there is nothing at `path`, no pictures in it, several splits, of which none is named, or a class
            twice.
    """
    if not is_remote(path):
        check_path(path, "a folder of pictures, parquet or tar files, or hub:owner/name", DataError)
    source = _open_path(path, _Reading(min_side, columns, known, split, bands))
    source.bands = bands
    check_class_names(source.classes or (), path)
    return source


def _open_path(path: str, reading: _Reading) -> ImageSource:
    if path in DIGITS:
        _refuse_split(path, reading)
        return DigitsSource(path)
    if path.partition(":")[0] == "digits" and not Path(path).exists():
        raise DataError(f"there is no embedded data {path!r}; expected one of {list(DIGITS)}")
    if path.startswith(PREFIX):
        found = open_hub(path, reading.min_side, reading.columns, reading.split == ALL, reading.bands)
        rows = found.divided if isinstance(found, HubSource) and reading.split != ALL else None
        if rows is None and reading.split not in (None, ALL):
            raise DataError(
                f"data.split is {reading.split!r} and data.path {path!r}; expected the split of a data set of the hub "
                "in its path, such as hub:owner/name:test: leave data.split out"
            )
        return _of_split(found, path, reading, rows)
    place = Path(path)
    if is_remote(path) or is_pattern(path) or place.is_file():
        return _open_shards(_shards_of(path), path, reading)
    if not place.exists():
        raise missing_data(path)
    if not place.is_dir():
        return _open_shards([place], path, reading)
    if reading.split != ALL and (found := find_splits(place)) is not None:
        return _open_split(found, reading)
    return _open_folder(place, path, reading)


def splits_of(path: str, columns: Sequence[str] = ()) -> Splits | None:
    """Return the splits of a folder, or of the rows of a table; None of what has none.

    Args:
        path: See `open_source`.
        columns: Names of the columns of pictures and of labels in a table; empty: the usual ones.

    Raises:
        DataError: If classes hold splits, rather than splits classes.
    """
    if Path(path).is_dir() and (found := find_splits(Path(path))) is not None:
        return found
    if path.startswith(PREFIX):
        rows = hub_rows(path, columns)
        return None if rows is None else Splits(path, {name: [] for name in rows.splits})
    if Path(path).is_dir() and is_saved(Path(path)):
        rows = SavedSource(Path(path), columns=columns).divided()
        return None if rows is None else Splits(path, {name: [] for name in rows.splits})
    shards = _shards_of(path)
    if not shards or {PurePosixPath(shard.name).suffix.lower() for shard in shards} != {".parquet"}:
        return None
    rows = divided_rows(shards)
    return None if rows is None else Splits(path, {name: [] for name in rows.splits})


def _shards_of(path: str) -> Sequence[ShardFile]:
    """Return the files of many pictures that a path means; none of digits, the hub, pictures, or nothing."""
    if path in DIGITS or path.startswith(PREFIX):
        return []
    if is_remote(path):
        return _matching_elsewhere(path)
    if is_pattern(path):
        return _matching(path)
    place = Path(path)
    return shards_below(place) if place.is_dir() else [place] if place.is_file() else []


def _refuse_split(path: str, reading: _Reading) -> None:
    """Refuse a split of a collection that has none."""
    if reading.split not in (None, ALL):
        raise DataError(f"data path {path!r} holds no splits, and {reading.split!r} is asked for; leave data.split out")


def _open_split(splits: Splits, reading: _Reading) -> ImageSource:
    places = splits.places[chosen_split(splits.folder, splits.places, reading.split)]
    if places[0].is_file():
        _say_beside(Path(splits.folder), [place for found in splits.places.values() for place in found])
        return _open_shards(places, splits.folder, replace(reading, split=ALL))
    split = ALL if is_saved(places[0]) else None  # which a column may divide further
    return _open_folder(places[0], str(places[0]), replace(reading, split=split))


def _open_folder(folder: Path, path: str, reading: _Reading) -> ImageSource:
    if is_saved(folder):
        saved = SavedSource(folder, reading.min_side, reading.columns)
        return _of_split(saved, path, reading, None if reading.split == ALL else saved.divided())
    shards = shards_below(folder)
    beside = bool(shards) and holds_pictures(folder)
    if beside and any(shard.suffix.lower() == ".tar" for shard in shards):
        raise DataError(
            f"data path {path!r} holds pictures and tar files; name the tar files as {path.rstrip('/')}/*.tar, or move "
            "one of the two"
        )
    if beside:
        say_passed_over(folder, PassedOver(), "the parquet files are read, and the pictures beside them are not")
    if shards:
        _say_beside(folder, shards)
        return _open_shards(shards, path, reading)
    _refuse_split(path, reading)
    try:
        source = FolderSource(folder, reading.min_side, reading.known, bands=reading.bands)
    except DataError:
        for compressed in sorted(entry for entry in folder.iterdir() if entry.name.endswith(_COMPRESSED)):
            _refuse_compressed(compressed)
        raise
    if reading.split != ALL and are_scenes(source.classes or ()):
        raise DataError(
            f"{folder} holds pictures and their label maps ({', '.join(source.classes or ())}), which are no classes; "
            "name the folder of the pictures, and in beit segment that of the others with label_maps.path, or set "
            "data.split to all to take them as classes"
        )
    return source


def _say_beside(folder: Path, shards: Sequence[Path]) -> None:
    """Print which files beside shards are not read, such as shards that are compressed."""
    passed_over, read = PassedOver(), set(shards)
    for place in sorted({shard.parent for shard in shards}):
        for path in place.iterdir():
            if path.name[0] != "." and path not in read and path.is_file():
                compressed = path.name.endswith(_COMPRESSED)
                passed_over.endings["".join(path.suffixes[-2:]) if compressed else path.suffix] += 1
    say_passed_over(folder, passed_over)


def _open_shards(shards: Sequence[ShardFile], path: str, reading: _Reading) -> ImageSource:
    kinds = sorted({PurePosixPath(shard.name).suffix.lower() or "plain" for shard in shards})
    if shards[0].name.endswith(_COMPRESSED):
        _refuse_compressed(shards[0])
    if kinds == [".parquet"]:
        return _of_shards(_open_parquet(shards, path, reading), shards)
    if kinds == [".tar"]:
        _refuse_split(path, reading)
        return _of_shards(TarSource(shards, reading.min_side, reading.split == ALL, reading.bands), shards)
    if kinds == [".zip"]:
        raise DataError(
            f"{shards[0]} is a zip file; expected a folder or a .tar: unpack it (unzip), and name the folder"
        )
    one = f"is a {kinds[0]} file" if len(shards) == 1 else f"means {' and '.join(kinds)} files"
    raise DataError(f"data path {path!r} {one}; expected a folder, parquet files, or tar files")


def _of_shards(source: ImageSource, shards: Sequence[ShardFile]) -> ImageSource:
    """Return a collection; print that files without labels may be classes, unless they are numbered."""
    stems = [PurePosixPath(shard.name).stem for shard in shards]
    numbered = len({re.sub(r"\d+", "", stem) for stem in stems}) == 1 and not all(map(_WORDNET.fullmatch, stems))
    if source.labels is None and len(stems) > 1 and not numbered:
        named = ", ".join(stems[:_SHOWN]) + ", ..." * (len(stems) > _SHOWN)
        remark = f"{named} are taken as parts of one collection without labels; if they are its classes, unpack each"
        say_passed_over(folder_of(shards[0]), PassedOver(), f"{remark} into a folder of its name")
    return source


def _open_parquet(shards: Sequence[ShardFile], path: str, reading: _Reading) -> ImageSource:
    """Open parquet files, of one split alone where a column divides their rows."""
    options = (reading.min_side, reading.columns)
    only = shards[0] if len(shards) == 1 else None
    source = ParquetSource(only, *options) if isinstance(only, Path) else ParquetFolder(shards, *options)
    if isinstance(source, ParquetSource):
        say_other_labels(path, source.columns, reading.columns)
    return _of_split(source, path, reading, None if reading.split == ALL else divided_rows(shards))


def _of_split(source: ImageSource, path: str, reading: _Reading, rows: DividedRows | None) -> ImageSource:
    """Return the rows of the split that is meant, where a column divides them."""
    if rows is None:
        _refuse_split(path, reading)
        return source
    broken = [shard.name for shard in source.broken_shards]
    return Subset(source, rows.rows(chosen_split(path, rows.splits, reading.split), broken, len(source)))


def _refuse_compressed(path: ShardFile) -> NoReturn:
    raise DataError(
        f"{path} is compressed, so nothing in it can be found by its place; unpack it to .tar (gunzip and the like): "
        "pictures are compressed already, and it will hardly grow"
    )


def _matching(pattern: str) -> list[Path]:
    """Return the files that a pattern with `{000..099}`, `{a,b}`, `*`, `?` or `[0-9]` means, in order.

    What stands in braces is listed, whether it exists or not: a gap in a numbered row is a file that is missing.
    """
    found: list[Path] = []
    for path in expanded(pattern):
        found += [Path(name) for name in sorted(glob.glob(path))] if glob.has_magic(path) else [Path(path)]
    if not any(path.exists() for path in found):
        raise DataError(
            f"no file matches data path {pattern!r}; expected a pattern such as shards/train-{{000..099}}.tar"
        )
    return found


def _matching_elsewhere(pattern: str) -> list[ShardFile]:
    """Return the files on an object store or web server that a pattern, or a folder, means."""
    found = [address for path in expanded(pattern) for address in remote_matches(path, SHARDS)]
    if not found:
        raise DataError(f"no tar or parquet file matches data path {pattern!r}; expected a pattern such as *.tar")
    return [RemoteFile(address) for address in found]
