"""The pictures that a person names: files, folders of them, and the frames of films."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from beit.errors import DataError, missing_extra
from beit.image import EXTENSIONS, read_image

FILMS = frozenset({".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm"})


@dataclass(frozen=True)
class Named:
    """A picture file, or a film.

    Attributes:
        path: The file.
        stem: What to call what is made of it: its path inside the folder that was named, without its ending.
    """

    path: Path
    stem: str

    @property
    def is_film(self) -> bool:
        """Whether it has frames."""
        return self.path.suffix.lower() in FILMS


def named_files(places: Sequence[str]) -> list[Named]:
    """Return the files of some places, those of folders in the order of their paths.

    Raises:
        DataError: If a place does not exist, a folder has no pictures, or two files would be called the same.
    """
    found: list[Named] = []
    for place in map(Path, places):
        if not place.exists():
            raise DataError(f"{place} does not exist; expected a picture, a film or a folder of them")
        if not place.is_dir():
            found.append(Named(place, place.stem))
            continue
        inside = sorted(path for path in place.rglob("*") if path.suffix.lower() in EXTENSIONS | FILMS)
        if not inside:
            raise DataError(
                f"there are no pictures in {place}; expected endings such as {', '.join(sorted(EXTENSIONS))}"
            )
        found += [Named(path, str(path.relative_to(place).with_suffix("")).replace(os.sep, "_")) for path in inside]
    stems = [named.stem for named in found]
    twice = next((stem for stem in stems if stems.count(stem) > 1), None)
    if twice is not None:
        raise DataError(f"two files are called {twice!r}; what is made of one would replace the other: rename it")
    return found


def frames(named: Named) -> Iterator[tuple[str, Image.Image]]:
    """Yield the pictures of a file with their names: the picture itself, or the frames of a film, numbered from 0.

    Raises:
        DataError: If it is broken.
        MissingExtraError: If it is a film, and what reads films is not installed.
    """
    if not named.is_film:
        yield named.stem, read_image(named.path)
        return
    try:
        import av
    except ModuleNotFoundError:
        raise missing_extra("av", "video") from None
    library: Any = av
    try:
        with library.open(str(named.path)) as film:
            for number, frame in enumerate(film.decode(video=0)):
                yield f"{named.stem}_{number:06d}", frame.to_image().convert("RGB")
    except (library.FFmpegError, IndexError) as error:
        raise DataError(f"{named.path} is no film that can be read: {error}; expected one of {sorted(FILMS)}") from None
