"""Matching of the classes (or labels) of a collection to those of a model.

Legend: K classes of the model, C classes of the collection.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from beit.data import ImageSource, composed
from beit.errors import DataError

Match = Literal["names", "order"]
_WORDNET_ID = re.compile(r"n\d{8}")  # how the folders of ImageNet are named
_UNNAMED = re.compile(r"LABEL_\d+")  # what a config says whose classes have no names
_SHOWN = 5


def class_indices(source: ImageSource, names: Sequence[str], match: Match = "names") -> tuple[NDArray[np.int64], str]:
    """Return the model's index of every class of a collection (C,), and how they were matched.

    Args:
        source: The collection, with labels.
        names: Class names of the model, by index.
        match: "names": by name, or by index where the collection's classes are numbers and the model's are not;
            "order": the collection's classes, sorted, are the model's.

    Raises:
        DataError: If a label is out of range, or classes cannot be matched.
    """
    classes = _checked_classes(source)
    if match == "order":
        if len(classes) != len(names):
            raise DataError(
                f"the pictures have {len(classes)} classes and the model {len(names)}; match=order needs as many: name "
                "the class folders as the model does, or by its indices, and use match=names"
            )
        return np.arange(len(names), dtype=np.int64), "order"
    if (by_name := _by_name(classes, names)) is not None:
        return by_name, "name"
    if (by_index := _by_index(classes, names)) is not None:
        return by_index, "index"
    raise DataError(_unmatched(classes, names, "class folders" if source.label_kind == "class" else "labels"))


def _checked_classes(source: ImageSource) -> list[str]:
    labels, classes = source.labels, source.classes
    assert labels is not None and classes is not None  # noqa: PT018, S101  # check_problem has seen them
    if source.label_kind != "class":  # a file of labels names them
        return classes
    strange = np.flatnonzero((labels < 0) | (labels >= len(classes)))
    if len(strange):
        first = int(strange[0])
        raise DataError(
            f"{source.name(first)} has the label {int(labels[first])}, one of {len(strange)} among {len(labels)} that "
            f"are out of range; expected 0 to {len(classes) - 1}: choose a split with labels (-1 often stands for none)"
        )
    return classes


def _by_name(classes: Sequence[str], names: Sequence[str]) -> NDArray[np.int64] | None:
    """Match names as they are, else written alike, else by one of the synonyms that a comma separates."""
    if list(classes) == list(names):  # also if two of them are called the same
        return np.arange(len(names), dtype=np.int64)
    for spellings in (_exact, _alike, _synonyms):
        known = Counter(spelling for name in names for spelling in set(spellings(name)))
        index = {spelling: number for number, name in enumerate(names) for spelling in spellings(name)}
        found = [spellings(name)[0] for name in classes]
        # two birds of ImageNet are a "crane": an ambiguous name matches none
        if all(known[spelling] == 1 for spelling in found) and len(set(found)) == len(found):
            return np.array([index[spelling] for spelling in found], dtype=np.int64)
    return None


def _plain(name: str) -> str:
    return " ".join(composed(name).replace("_", " ").replace("-", " ").casefold().split())


def _exact(name: str) -> list[str]:
    return [name]


def _alike(name: str) -> list[str]:
    return [_plain(name)]


def _synonyms(name: str) -> list[str]:
    return [_plain(part) for part in name.split(",")]


def _by_index(classes: Sequence[str], names: Sequence[str]) -> NDArray[np.int64] | None:
    """Take classes as indices; not if names of the model are numbers too, which may mean something else."""
    if any(name.isdecimal() for name in names) or not all(name.isdecimal() for name in classes):
        return None
    indices = [int(name) for name in classes]
    if max(indices) >= len(names) or len(set(indices)) < len(indices):
        return None
    return np.array(indices, dtype=np.int64)


def _unmatched(classes: Sequence[str], names: Sequence[str], what_to_name: str) -> str:
    known = Counter(spelling for name in names for spelling in {name, _plain(name), *_synonyms(name)})
    unknown = [
        name for name in classes if not known[name] and not known[_plain(name)] and not known[_synonyms(name)[0]]
    ]
    what, such = f"the model does not know {len(unknown)}", unknown
    if not unknown:  # each name is known, but some mean more than one class
        own = Counter(map(_plain, classes))
        what = "more than one class of the model or of the pictures is meant by some"
        such = [name for name in classes if max(known[_plain(name)], own[_plain(name)]) > 1]
    said = f"{what} of the pictures' {len(classes)} classes, such as {such[:_SHOWN]}"
    if all(_UNNAMED.fullmatch(name) for name in names):
        said += f"; its {len(names)} classes have no names"
    else:
        said += f"; its {len(names)} classes are {list(names[:_SHOWN])}{' ...' * (len(names) > _SHOWN)}"
    numbers = [int(name) for name in classes if name.isdecimal()]
    if numbers and max(numbers) >= len(names):
        return f"{said}: expected numbers from 0 to {len(names) - 1}; name the {what_to_name} by the model's indices"
    if len(classes) == len(names):
        places = what_to_name.removeprefix("class ")
        hint = " (as it is in ImageNet-1K)" if all(map(_WORDNET_ID.fullmatch, classes)) else ""
        said = f"{said}: if the {places} in sorted order are the model's classes{hint}"
        return f"{said}, add --match order, else rename them"
    return f"{said}: name the {what_to_name} as the model does, or by its indices, 0 to {len(names) - 1}"
