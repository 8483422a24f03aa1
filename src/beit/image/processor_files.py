"""`preprocessor_config.json`: options of a processor, in the forms of all published versions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

_CLASS = "BeitImageProcessor"
EXPECTED = f"the options of a {_CLASS}"  # in a file, for messages
_CLASS_KEYS = ("image_processor_type", "feature_extractor_type")  # what the file is of, not how it works


def options_of_file(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a file under today's names; what it leaves out or has as null takes its default.

    `reduce_labels` is the old name of `do_reduce_labels`, which wins where a file has both. Keys that name the class
    or start with "_" are bookkeeping of the program that wrote the file.
    """
    kept = {
        name: value
        for name, value in options.items()
        if value is not None and name not in _CLASS_KEYS and not name.startswith("_")
    }
    if "reduce_labels" in kept:
        old = kept.pop("reduce_labels")
        kept.setdefault("do_reduce_labels", old)
    return kept


def plain_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options as JSON has them, with the name of their class."""
    return {"image_processor_type": _CLASS} | {name: _plain(value) for name, value in options.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, int) and not isinstance(value, bool):
        return int(value)  # an enumeration's member becomes its number
    return value
