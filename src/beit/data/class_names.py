"""Names of classes that look alike: a letter with an accent may be stored composed or decomposed, which is one name."""

from __future__ import annotations

import logging
import unicodedata
from collections.abc import Callable, Sequence

from beit.errors import DataError, as_text, printable

logger = logging.getLogger("beit")

# as programs write what is missing; R has NA
_MISSING = frozenset(
    {"-1", "?", "nan", "nat", "na", "#n/a", "n/a", "<na>", "null", "none", "missing", "unlabeled", "unlabelled"}
)


def composed(name: str) -> str:
    """Return a name with composed letters: systems and archives differ in how they store the same one."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def check_class_names(classes: Sequence[str], place: str) -> None:
    """Refuse classes that look the same, and name those that differ in capitals and spaces alone.

    Raises:
        DataError: If two names differ in composed and decomposed letters alone, or one is no text.
    """
    if strange := next((name for name in classes if as_text(name) != name), None):
        raise DataError(
            f"{place} has the class {strange!a}, whose name is no UTF-8 text, so that no model can hold it; "
            "expected text: rename it"
        )
    if same := _first_alike(classes, composed):
        raise DataError(
            f"{place} has the class {printable(same[0])!r} twice, once with composed and once with decomposed letters; "
            f"expected one spelling: rename {same[0]!a} to {same[1]!a}, or put their pictures together"
        )
    if alike := _first_alike(classes, lambda name: " ".join(_visible(composed(name)).casefold().split())):
        logger.warning(
            "%s: the classes %a and %a differ in capitals, spaces and invisible characters alone, and are taken as "
            "two", place, *alike,
        )  # fmt: skip
    if missing := [name for name in classes if name.strip().casefold() in _MISSING]:
        logger.warning(
            "%s: the class %r reads like a missing label, and is taken as a class; leave its pictures out if it is "
            "none", place, missing[0],
        )  # fmt: skip


def _visible(name: str) -> str:
    """Return a name without marks of direction, joiners and spaces of no width."""
    return name if name.isprintable() else "".join(c for c in name if unicodedata.category(c) != "Cf")


def _first_alike(names: Sequence[str], spelling: Callable[[str], str]) -> tuple[str, str] | None:
    first: dict[str, str] = {}
    for name in names:
        other = first.setdefault(spelling(name), name)
        if other != name:
            return other, name
    return None


def in_spelling_of(names: Sequence[str], known: Sequence[str]) -> list[str]:
    """Return names as they are spelled among those that are known, in composed or decomposed letters."""
    spelled = {composed(name): name for name in known}
    return [spelled.get(composed(name), name) for name in names]
