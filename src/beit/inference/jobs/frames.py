"""Pictures by name: files, folders of them, and the frames of films."""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from beit.errors import DataError, missing_extra, missing_picture
from beit.files import open_regular
from beit.image import BandOptions, endings_of, picture_files
from beit.image.large import most_pixels

FILMS = frozenset({".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm"})

_MOST_SAID = 200  # characters of the message of a library
_LONGEST_STEM = 200  # bytes; a file system takes names of 255, and some are added at the end and during writing
_TURNS = {90: Image.Transpose.ROTATE_90, 180: Image.Transpose.ROTATE_180, 270: Image.Transpose.ROTATE_270}
# No playlists, whatever a file is called: they name other files and addresses, which would be read.
_CAREFUL = {"format_whitelist": "avi,matroska,mov,mp4,mpeg,mpegts,mpegvideo,webm", "protocol_whitelist": "file"}


@dataclass(frozen=True)
class Named:
    """A picture file, or a film.

    Attributes:
        path: The file.
        stem: Name of the files that are made of it: its path inside the folder that was named, without its ending
            unless another would be called the same. One of more than 200 bytes is cut, and ends in a hash of the whole.
    """

    path: Path
    stem: str

    @property
    def is_film(self) -> bool:
        """Return whether it has frames."""
        return self.path.suffix.lower() in FILMS


def named_files(places: Sequence[str], bands: BandOptions | None = None) -> list[Named]:
    """Return the files at some paths, those of folders in the order of their paths.

    Raises:
        DataError: If a place does not exist, or a folder has no pictures.
    """
    found: list[tuple[Path, Path]] = []  # and the name, a path inside the folder that was named
    endings = endings_of(bands) | (FILMS if bands is None else frozenset())  # the frames of films are RGB
    for place in map(Path, places):
        if not place.exists():
            raise missing_picture(place)
        if not place.is_dir():
            found.append((place, Path(place.name)))
            continue
        found += [(path, path.relative_to(place)) for path in picture_files(place, endings)]
    stems = [str(name.with_suffix("")).replace(os.sep, "_") for _, name in found]
    uses = Counter(stems)
    return [
        Named(path, _fitted(stem if uses[stem] == 1 else str(name).replace(os.sep, "_")))
        for (path, name), stem in zip(found, stems, strict=True)
    ]


def _fitted(stem: str) -> str:
    """Return a stem that leaves room for what is added to it: pictures in a tree of folders can have long ones."""
    content = os.fsencode(stem)
    if len(content) <= _LONGEST_STEM:
        return stem
    digest = hashlib.sha256(content).hexdigest()[:8]
    return f"{content[: _LONGEST_STEM - 9].decode(errors='ignore')}_{digest}"


def refuse_twice(stems: Iterable[str]) -> None:
    """Refuse files of one name.

    Raises:
        DataError: Naming the first that is there twice.
    """
    stem, times = max(Counter(stems).items(), key=lambda item: item[1], default=("", 0))
    if times > 1:
        raise DataError(f"two files are called {stem!r}; the results of one would replace the other's: rename it")


def refuse_frames(films: Iterable[str], stems: Iterable[str]) -> None:
    """Refuse files that are called like a frame of a film, as programs that cut one into pictures call them.

    Raises:
        DataError: Naming the first.
    """
    names = set(stems)
    for film in films:
        frame = re.compile(rf"{re.escape(film)}_[0-9]{{6,}}")
        if (like := next(filter(frame.fullmatch, sorted(names)), None)) is not None:
            raise DataError(
                f"{like!r} is called like a frame of {film!r}; the results of one would replace the other's: rename "
                "it, or name one of the two"
            )


def film_frames(film: Path, first: int = 0) -> Iterator[tuple[int, Image.Image]]:
    """Yield the frames of a film from one on, upright, with their numbers, which count from 0.

    Raises:
        DataError: If it is broken.
        MissingExtraError: If what reads films is not installed.
    """
    try:
        import av
    except ModuleNotFoundError:
        raise missing_extra("av", "video") from None
    library: Any = av
    try:
        with open_regular(film), library.open(str(film), options=_CAREFUL) as opened:
            opened.streams.video[0].codec_context.options = {"max_pixels": str(most_pixels())}
            for number, frame in enumerate(opened.decode(video=0)):
                if number >= first:
                    yield number, _upright(frame)
    except Exception as error:  # damaged films make PyAV raise many kinds of errors, of what it decodes or quotes
        said = " ".join(str(error).split())[:_MOST_SAID] or type(error).__name__
        raise DataError(f"{film} is no film that can be read: {said}; expected one of {sorted(FILMS)}") from None


def _upright(frame: Any) -> Image.Image:
    """Return a frame as players show it: a camera stores them as its sensor lies, and how it was held."""
    picture, turn = frame.to_image().convert("RGB"), _TURNS.get(90 * round(frame.rotation / 90) % 360)
    return picture if turn is None else picture.transpose(turn)
