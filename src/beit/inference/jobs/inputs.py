"""Inputs of a job: its pictures, numbered and divided into units of work."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from threading import Lock

from beit.data import ALL, BrokenShard, ImageSource, open_source
from beit.errors import DataError
from beit.files import file_lines
from beit.files.patterns import is_pattern
from beit.image import EXTENSIONS, AnyPicture, BandOptions, walk_pictures
from beit.inference.jobs.frames import FILMS, Named, named_files, refuse_frames, refuse_twice
from beit.inference.pictures import to_input

CHUNK = 256  # pictures whose results are written together: what a killed job computes again at most
_SHARDS = (".tar", ".parquet")
_NAMED = ("hub:", "digits:", "s3://", "gs://")


class Collection(ABC):
    """Numbered pictures.

    Attributes:
        stems: Names of the files that are made of them: one for each file or shard.
        films: Those of films, of whose frames files are made.
        broken_shards: Files of many pictures that could not be opened.
    """

    stems: Sequence[str]
    films: Sequence[str] = ()
    broken_shards: Sequence[BrokenShard] = ()

    @abstractmethod
    def units(self, collection: int, size: int) -> Iterator[Unit]:
        """Yield the units of work, of at most so many pictures; `collection` is the number of this one."""

    @abstractmethod
    def load(self, index: int) -> AnyPicture:
        """Return a picture as RGB, or of the channels that the collection was opened for.

        Raises:
            DataError: If it is broken.
        """

    @abstractmethod
    def name(self, index: int) -> str:
        """Return the name of a picture in messages and rows."""

    def path(self, index: int) -> Path | None:
        """Return the file of a picture; None of one that has none of its own."""
        return None

    @abstractmethod
    def stem(self, index: int) -> str:
        """Return the name of the files that are made of it."""

    @abstractmethod
    def contents(self) -> Iterator[str]:
        """Yield lines that identify these pictures."""

    def fetch(self, unit: Unit) -> None:  # noqa: B027  # most are at hand
        """Fetch the shards of a unit, if it has any."""


@dataclass(frozen=True)
class Unit:
    """Pictures that are done together, or a film.

    Attributes:
        collection: In which collection.
        start: First picture.
        stop: The one after the last.
        film: The film, if it is one.
    """

    collection: int
    start: int
    stop: int
    film: Named | None = None


class Files(Collection):
    """Picture files and films."""

    def __init__(self, places: Sequence[str], bands: BandOptions | None = None) -> None:
        self._files, self._bands = named_files(places, bands), bands
        self.stems = [named.stem for named in self._files]
        self.films = [named.stem for named in self._files if named.is_film]

    def units(self, collection: int, size: int) -> Iterator[Unit]:
        """Yield runs of pictures, and films."""
        start = 0
        for index, named in enumerate(self._files):
            if named.is_film or index - start == size:
                if index > start:
                    yield Unit(collection, start, index)
                start = index
            if named.is_film:
                yield Unit(collection, index, index + 1, named)
                start = index + 1
        if start < len(self._files):
            yield Unit(collection, start, len(self._files))

    def load(self, index: int) -> AnyPicture:
        """Return a picture."""
        return to_input(self._files[index].path, self._bands)

    def name(self, index: int) -> str:
        """Return the path."""
        return str(self._files[index].path)

    def path(self, index: int) -> Path:
        """Return the file."""
        return self._files[index].path

    def stem(self, index: int) -> str:
        """Return the path inside the folder that was named."""
        return self._files[index].stem

    def contents(self) -> Iterator[str]:
        """Yield the path and size of every file, and a hash of the end of some."""
        return file_lines([named.path for named in self._files])


class Shards(Collection):
    """The pictures of tar or parquet files, of the hub, or those that are embedded."""

    def __init__(self, place: str, bands: BandOptions | None = None) -> None:
        self._source: ImageSource = open_source(place, min_side=1, split=ALL, bands=bands)
        self._stem = Path(place).stem.replace(":", "_") or "pictures"
        self.stems = [self._stem]
        self.broken_shards = self._source.broken_shards
        self._lock = Lock()  # sources are made for processes, not for threads

    def units(self, collection: int, size: int) -> Iterator[Unit]:
        """Yield runs of pictures."""
        for start in range(0, len(self._source), size):
            yield Unit(collection, start, min(start + size, len(self._source)))

    def load(self, index: int) -> AnyPicture:
        """Return a picture; only its bytes are read in turn, JPEGs are decoded side by side."""
        with self._lock:
            stored = self._source.open(index)
        return stored.decode().picture

    def name(self, index: int) -> str:
        """Return the shard and the place in it."""
        with self._lock:
            return self._source.name(index)

    def stem(self, index: int) -> str:
        """Return a number in a folder of its own: names inside shards need not differ."""
        return f"{self._stem}/{index:08d}"

    def contents(self) -> Iterator[str]:
        """Yield a line for every shard."""
        return self._source.contents()

    def fetch(self, unit: Unit) -> None:
        """Fetch the shards of a unit."""
        with self._lock:
            self._source.fetch(range(unit.start, unit.stop), ())


def open_inputs(
    places: Sequence[str], writes_files: bool = False, bands: BandOptions | None = None
) -> list[Collection]:
    """Open files, folders of pictures and films, tar and parquet files, folders of these, and names of data sets.

    Neighbouring files are one collection, so that they are computed together.

    Args:
        places: Their paths or names.
        writes_files: Whether files are made of every picture, and named after it.
        bands: Reading of pictures of other than three channels; None: as RGB.

    Raises:
        DataError: If a place does not exist or has no pictures, or two of the files to write would be called the same.
    """
    found: list[Collection] = []
    plain: list[str] = []
    for place in places:
        if _is_shards(place):
            if plain:
                found.append(Files(plain, bands))
            found, plain = [*found, Shards(place, bands)], []
        else:
            plain.append(place)
    if plain:
        found.append(Files(plain, bands))
    if writes_files:
        stems = [stem for collection in found for stem in collection.stems]
        refuse_twice(stems)
        refuse_frames([film for collection in found for film in collection.films], stems)
    return found


def digest(collections: Sequence[Collection], more: Iterable[str] = ()) -> str:
    """Return a hash of these pictures, and of more lines that identify files."""
    hashed = hashlib.sha256()
    for line in chain(*(collection.contents() for collection in collections), more):
        hashed.update(f"{line}\n".encode("utf-8", "surrogateescape"))
    return hashed.hexdigest()


def _is_shards(place: str) -> bool:
    path = Path(place)
    if not path.is_dir():
        return path.suffix.lower() in _SHARDS or place.startswith(_NAMED) or is_pattern(place)
    endings = {entry.suffix.lower() for entry in path.iterdir()}
    if endings & {*_SHARDS} and endings & (EXTENSIONS | FILMS):
        raise DataError(f"{place} holds shards and pictures; name the shards as {place.rstrip('/')}/*.tar or *.parquet")
    if endings & {*_SHARDS}:
        return True
    nested = next(walk_pictures(path, frozenset(_SHARDS)), None) is not None
    return nested and next(walk_pictures(path, EXTENSIONS | frozenset(FILMS)), None) is None
