"""Broken pictures and shards of a run: skipped, counted and listed; too many are an error."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from beit.data.sources.source import ImageSource
from beit.errors import DataError, as_text
from beit.files import write_text

_SHARD = "shard "  # begins the lines of broken.txt that are not about a single picture


@dataclass(frozen=True)
class BrokenPicture:
    """A picture that could not be used, and the reason."""

    name: str
    reason: str

    def to_json(self) -> dict[str, str]:
        """Return name and reason as text that JSON can hold, whatever the name of the file is."""
        return {"name": as_text(self.name), "reason": as_text(self.reason)}


def check_shards(source: ImageSource, max_share: float) -> None:
    """Warn of the shards of a collection that cannot be read, and refuse too many of them.

    Raises:
        DataError: If their share of all shards is past the allowed one.
    """
    broken = source.broken_shards
    if not broken:
        return
    total = len(broken) + (len(source.shard_sizes) if source.shard_sizes is not None else 0)
    count = f"{len(broken)} of {total} shards {'is' if len(broken) == 1 else 'are'} unreadable"
    first = f"{broken[0].name}: {broken[0].reason}"
    if max_share < 1 and len(broken) > max_share * total:
        raise DataError(
            f"{count} ({len(broken) / total:.0%}), more than data.max_broken allows ({max_share:.0%}); first: {first}. "
            "Fetch them again or remove them, or raise data.max_broken"
        )
    if os.environ.get("RANK", "0") == "0":
        logging.getLogger(__name__).warning("%s and left out; first: %s", count, first)


def list_shards(listing: Path, *sources: ImageSource) -> None:
    """Write the unreadable shards of some collections into the list of broken pictures, in place of those before."""
    shards = {shard.name: shard.reason for source in sources for shard in source.broken_shards}
    lines = [f"{_SHARD}{name}: {' '.join(reason.split())}" for name, reason in shards.items()]
    known = _listed(listing)
    now = lines + [line for line in known if not line.startswith(_SHARD)]
    if now != known:
        _write(listing, now)


def _listed(listing: Path) -> list[str]:
    """Return the lines of a list; names of files need be of no encoding."""
    if not listing.exists():
        return []
    lines = listing.read_text(encoding="utf-8", errors="surrogateescape").split("\n")
    return [line for line in lines if line]  # of an empty list there are none


def _write(listing: Path, lines: Iterable[str]) -> None:
    write_text(listing, "".join(line + "\n" for line in lines))


class BrokenPictures:
    """All distinct broken pictures met so far, also before a resume; those that are met again count as too many.

    What stopped a run may have been repaired since, or was a disk that was away.

    Args:
        listing: File that lists them, or None.
        pictures: Number of all pictures.
        max_share: Share of them that may be broken.
    """

    def __init__(self, listing: Path | None, pictures: int, max_share: float) -> None:
        self._listing, self._pictures, self._max_share = listing, pictures, max_share
        known = [] if listing is None else _listed(listing)
        self._shards = [line for line in known if line.startswith(_SHARD)]
        self._reasons = dict.fromkeys(line for line in known if not line.startswith(_SHARD))  # keeps the order
        self._met: dict[str, None] = {}  # since the run was begun or continued

    def __len__(self) -> int:
        return len(self._reasons)

    def add(self, broken: Iterable[BrokenPicture]) -> None:
        """Count broken pictures, and list new ones.

        Raises:
            DataError: If their share of all pictures is past the allowed one.
        """
        new = {" ".join(picture.reason.split()): None for picture in broken}
        if not new.keys() - self._met.keys():
            return
        unlisted = new.keys() - self._reasons.keys()
        self._met, self._reasons = self._met | new, self._reasons | new
        if unlisted and self._listing is not None:
            _write(self._listing, [*self._shards, *self._reasons])
        if self._max_share < 1 and (met := len(self._met)) > self._max_share * self._pictures:
            raise DataError(
                f"{met} of {self._pictures} pictures {'is' if met == 1 else 'are'} broken, more than data.max_broken "
                f"allows ({self._max_share:.0%}); first: {next(iter(self._met))}. Remove or repair them, or raise "
                "data.max_broken"
            )

    def summary(self) -> str | None:
        """Return a line for the end of a run, or None."""
        if not self._reasons:
            return None
        return f"{len(self)} broken pictures were skipped" + (f", listed in {self._listing}" if self._listing else "")


def require_usable(measured: int, total: int, broken: list[BrokenPicture]) -> None:
    """Refuse a measurement over no picture.

    Raises:
        DataError: If nothing was measured.
    """
    if measured == 0:
        first = f"; first: {broken[0].reason}" if broken else ""
        raise DataError(f"none of the {total} pictures is usable{first}. Repair them or name others")
