"""Which files a data path means."""

from __future__ import annotations

import glob
import re
from pathlib import Path
from typing import NoReturn

from beit.errors import DataError

COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst")
_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d+)\.\.(\d+)")


def is_pattern(path: str) -> bool:
    """Return whether a path stands for several, as a shell would read it, and is not itself the name of a file."""
    return (glob.has_magic(path) or _BRACES.search(path) is not None) and not Path(path).exists()


def matching(pattern: str) -> list[Path]:
    """Return the files that a pattern with `{000..099}`, `{a,b}`, `*`, `?` or `[0-9]` means, in order.

    What stands in braces is listed, whether it exists or not: a gap in a numbered row is a file that is missing.

    Raises:
        DataError: If there are none.
    """
    found: list[Path] = []
    for path in _expanded(pattern):
        found += [Path(name) for name in sorted(glob.glob(path))] if glob.has_magic(path) else [Path(path)]
    if not any(path.exists() for path in found):
        raise DataError(
            f"no file matches data path {pattern!r}; expected a pattern such as shards/train-{{000..099}}.tar"
        )
    return found


def refuse_compressed(path: Path) -> NoReturn:
    """Refuse a compressed tar file, always.

    Raises:
        DataError: Saying how to unpack it.
    """
    raise DataError(
        f"{path} is compressed, so nothing in it can be found by its place; unpack it to .tar (gunzip and the like): "
        "pictures are compressed already, and it will hardly grow"
    )


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
