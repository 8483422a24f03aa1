"""Patterns of file names, as a shell reads them: `*`, `?`, `[0-9]`, and braces such as `{000..099}` and `{a,b}`."""

from __future__ import annotations

import glob
import re
from pathlib import Path

_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d+)\.\.(\d+)")


def is_pattern(path: str) -> bool:
    """Return whether a path is a pattern, as a shell would read it, and not itself the name of a file."""
    return (glob.has_magic(path) or _BRACES.search(path) is not None) and not Path(path).exists()


def expanded(pattern: str) -> list[str]:
    """Return a path for everything that stands in braces, in order; wildcards stay."""
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
    return [before + option + rest for option in options for rest in expanded(after)]
