"""Opening of data paths: a folder, parquet or tar files, a pattern of them, a data set of the hub, the digits."""

from __future__ import annotations

import glob
import re
from pathlib import Path
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from beit.data.rng import Purpose, generator
from beit.data.sources.digits import DIGITS, DigitsSource
from beit.data.sources.folder import FolderSource, holds_pictures
from beit.data.sources.hub.files import PREFIX
from beit.data.sources.hub.shards import open_hub
from beit.data.sources.parquet.file import ParquetSource
from beit.data.sources.parquet.shards import ParquetFolder
from beit.data.sources.source import ImageSource, Subset
from beit.data.sources.tar.shards import TarSource
from beit.errors import DataError, missing_data


def split(source: ImageSource, share: float, seed: int, stratified: bool = False) -> tuple[Subset, Subset]:
    """Return (training, validation), the latter holding `share` of the pictures, of every class if `stratified`.

    Raises:
        DataError: If the source, or with `stratified` a class, has fewer than two pictures.
    """
    if source.labels is None or not stratified or source.label_kind != "class":
        groups = [np.arange(len(source))]
    else:
        groups = [np.flatnonzero(source.labels == label) for label in range(len(source.classes or ()))]
    rng = generator(seed, Purpose.SPLIT)
    validation: list[NDArray[np.int64]] = []
    for label, group in enumerate(groups):
        if len(group) < 2:
            what = f"class {source.classes[label]!r} has" if source.classes and stratified else "there is"
            raise DataError(
                f"{what} {len(group)} picture{'s' * (len(group) != 1)}; expected at least 2, one to train on and one "
                "to validate on: add pictures, or name validation pictures with data.val_path"
            )
        count = min(max(1, round(share * len(group))), len(group) - 1)
        validation.append(rng.permutation(group)[:count])
    held_out = np.sort(np.concatenate(validation))
    return Subset(source, np.setdiff1d(np.arange(len(source)), held_out)), Subset(source, held_out)


def few_per_class(source: ImageSource, count: int, seed: int) -> Subset:
    """Return `count` random pictures of every class.

    Raises:
        DataError: If the source has no labels, or a class has fewer pictures.
    """
    labels = source.labels
    if labels is None or source.classes is None or source.label_kind != "class":
        raise DataError("data.per_class needs pictures of one class each; put them into one folder per class")
    rng = generator(seed, Purpose.SPLIT, count)
    chosen: list[NDArray[np.int64]] = []
    for label, name in enumerate(source.classes):
        group = np.flatnonzero(labels == label)
        if len(group) < count:
            raise DataError(f"class {name!r} has {len(group)} pictures; data.per_class asks for {count}: lower it")
        chosen.append(rng.permutation(group)[:count])
    return Subset(source, np.sort(np.concatenate(chosen)))


def spread(source: ImageSource, count: int) -> ImageSource:
    """Return `count` pictures at even distances (folders are sorted by class), or all if there are no more."""
    if len(source) <= count:
        return source
    return Subset(source, np.linspace(0, len(source) - 1, count).astype(np.int64))


def sample(source: ImageSource, count: int, seed: int) -> ImageSource:
    """Return `count` random pictures in their order, or all if there are no more.

    Of a collection that is fetched shard by shard they are the first ones, or a run would wait for all shards.
    """
    if len(source) <= count:
        return source
    if source.look_ahead:
        return Subset(source, np.arange(count))
    return Subset(source, np.sort(generator(seed, Purpose.SAMPLE).permutation(len(source))[:count]))


_COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst")
_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d+)\.\.(\d+)")


def open_source(path: str, min_side: int = 8) -> ImageSource:
    """Open a collection of pictures.

    Args:
        path: "digits:train" or "digits:test" (embedded); "hub:owner/name" with an optional ":split" and "@revision"; a
            `.parquet` or `.tar` file, a folder of such files, or a pattern such as `train-{000..099}.tar`; or a folder
            of pictures, in which folders are classes.
        min_side: Pictures with a shorter side, in pixels, count as broken.

    Raises:
        DataError: If there is nothing at `path`, or no pictures in it.
    """
    if path in DIGITS:
        return DigitsSource(path)
    if path.partition(":")[0] == "digits" and not Path(path).exists():
        raise DataError(f"there is no embedded data {path!r}; expected one of {list(DIGITS)}")
    if path.startswith(PREFIX):
        return open_hub(path, min_side)
    if is_pattern(path):
        return _open_shards(_matching(path), path, min_side)
    place = Path(path)
    if not place.exists():
        raise missing_data(path)
    return _open_folder(place, path, min_side) if place.is_dir() else _open_shards([place], path, min_side)


def is_pattern(path: str) -> bool:
    """Return whether a path is a pattern, as a shell would read it, and not itself the name of a file."""
    return (glob.has_magic(path) or _BRACES.search(path) is not None) and not Path(path).exists()


def _open_folder(folder: Path, path: str, min_side: int) -> ImageSource:
    shards = sorted([*folder.glob("*.parquet"), *folder.glob("*.tar")])
    if any(shard.suffix == ".tar" for shard in shards) and holds_pictures(folder):
        raise DataError(
            f"data path {path!r} holds pictures and tar files; name the tar files as {path.rstrip('/')}/*.tar, or move "
            "one of the two"
        )
    if shards:
        return _open_shards(shards, path, min_side)
    try:
        return FolderSource(folder, min_side)
    except DataError:
        for compressed in sorted(entry for entry in folder.iterdir() if entry.name.endswith(_COMPRESSED)):
            _refuse_compressed(compressed)
        raise


def _open_shards(shards: list[Path], path: str, min_side: int) -> ImageSource:
    kinds = sorted({shard.suffix or "plain" for shard in shards})
    if shards[0].name.endswith(_COMPRESSED):
        _refuse_compressed(shards[0])
    if kinds == [".parquet"]:
        return ParquetSource(shards[0], min_side) if len(shards) == 1 else ParquetFolder(shards, min_side)
    if kinds == [".tar"]:
        return TarSource(shards, min_side)
    one = f"is a {kinds[0]} file" if len(shards) == 1 else f"means {' and '.join(kinds)} files"
    raise DataError(f"data path {path!r} {one}; expected a folder, parquet files, or tar files")


def _refuse_compressed(path: Path) -> NoReturn:
    raise DataError(
        f"{path} is compressed, so nothing in it can be found by its place; unpack it to .tar (gunzip and the like): "
        "pictures are compressed already, and it will hardly grow"
    )


def _matching(pattern: str) -> list[Path]:
    """Return the files that a pattern with `{000..099}`, `{a,b}`, `*`, `?` or `[0-9]` means, in order.

    What stands in braces is listed, whether it exists or not: a gap in a numbered row is a file that is missing.
    """
    found: list[Path] = []
    for path in _expanded(pattern):
        found += [Path(name) for name in sorted(glob.glob(path))] if glob.has_magic(path) else [Path(path)]
    if not any(path.exists() for path in found):
        raise DataError(
            f"no file matches data path {pattern!r}; expected a pattern such as shards/train-{{000..099}}.tar"
        )
    return found


def _expanded(pattern: str) -> list[str]:
    braces = _BRACES.search(pattern)
    if braces is None:
        return [pattern]
    span = _RANGE.fullmatch(braces[1])
    if span is None:
        options = braces[1].split(",")
    else:
        width = len(span[1])
        options = [f"{number:0{width}d}" for number in range(int(span[1]), int(span[2]) + 1)]
    before, after = pattern[: braces.start()], pattern[braces.end() :]
    return [before + option + rest for option in options for rest in _expanded(after)]
