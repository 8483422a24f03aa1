"""Kind of file that is fuzzed."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Target:
    """A kind of file.

    Attributes:
        name: Name of the file, which decides how it is read.
        sound: Contents that are read without an error.
        read: Reads the file at a path; a `BeitError` is an answer too.
        beside: Sound files beside it, by their names.
    """

    name: str
    sound: list[bytes]
    read: Callable[[Path], object]
    beside: dict[str, bytes] = field(default_factory=dict[str, bytes])

    def write(self, content: bytes, folder: Path) -> Path:
        """Write a content and what stands beside it into a folder; return its path."""
        for name, given in {**self.beside, self.name: content}.items():
            place = folder / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(given)
        return folder / self.name
