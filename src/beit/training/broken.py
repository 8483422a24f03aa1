"""Broken pictures of a run: skipped, counted, listed, and too many of them an error."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from beit.data import BrokenPicture
from beit.errors import DataError


class BrokenPictures:
    """All distinct broken pictures met so far.

    Args:
        listing: File that lists them, or None.
        pictures: Number of all pictures.
        max_share: Share of them that may be broken.
    """

    def __init__(self, listing: Path | None, pictures: int, max_share: float) -> None:
        self._listing, self._pictures, self._max_share = listing, pictures, max_share
        self._reasons: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self._reasons)

    def add(self, broken: Iterable[BrokenPicture]) -> None:
        """Take note of broken pictures, and list new ones.

        Raises:
            DataError: If their share of all pictures is past the allowed one.
        """
        new = {picture.name: picture.reason for picture in broken if picture.name not in self._reasons}
        if not new:
            return
        self._reasons.update(new)
        if self._listing is not None:
            self._listing.write_text("".join(reason + "\n" for reason in self._reasons.values()), encoding="utf-8")
        if len(self) > self._max_share * self._pictures:
            first = next(iter(self._reasons.values()))
            raise DataError(
                f"{len(self)} of {self._pictures} pictures {'is' if len(self) == 1 else 'are'} broken, more than "
                f"data.max_broken allows ({self._max_share:.0%}); first: {first}. Remove or repair "
                "them, or raise data.max_broken"
            )

    def summary(self) -> str | None:
        """Return a line for the end of a run, or None."""
        return f"{len(self)} broken pictures were skipped, listed in {self._listing}" if self._reasons else None
