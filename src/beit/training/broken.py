"""Broken pictures of a run: skipped, counted, listed, and too many of them an error."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from beit.data import BrokenPicture
from beit.errors import DataError
from beit.weights import atomic_file


class BrokenPictures:
    """All distinct broken pictures met so far, also before a resume.

    Args:
        listing: File that lists them, or None.
        pictures: Number of all pictures.
        max_share: Share of them that may be broken.
    """

    def __init__(self, listing: Path | None, pictures: int, max_share: float) -> None:
        self._listing, self._pictures, self._max_share = listing, pictures, max_share
        known = listing.read_text(encoding="utf-8").splitlines() if listing is not None and listing.exists() else []
        self._reasons = dict.fromkeys(known)  # a dict keeps the order

    def __len__(self) -> int:
        return len(self._reasons)

    def add(self, broken: Iterable[BrokenPicture]) -> None:
        """Take note of broken pictures, and list new ones.

        Raises:
            DataError: If their share of all pictures is past the allowed one.
        """
        new = {" ".join(picture.reason.split()): None for picture in broken}
        if not new.keys() - self._reasons.keys():
            return
        self._reasons |= new
        if self._listing is not None:
            with atomic_file(self._listing) as temporary:
                temporary.write_text("".join(reason + "\n" for reason in self._reasons), encoding="utf-8")
        if self._max_share < 1 and len(self) > self._max_share * self._pictures:
            raise DataError(
                f"{len(self)} of {self._pictures} pictures {'is' if len(self) == 1 else 'are'} broken, more than "
                f"data.max_broken allows ({self._max_share:.0%}); first: {next(iter(self._reasons))}. Remove or repair "
                "them, or raise data.max_broken"
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
