"""Forms of model options: every way in which published code writes one is turned into a single form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from beit.config.checks import MOST, require_whole, shown
from beit.errors import ConfigError


def list_of(name: str, values: Any) -> list[Any]:
    """Return a sequence as a list; `name` is the option, for the message.

    Raises:
        ConfigError: If it is of another type.
    """
    if not isinstance(values, Sequence) or isinstance(values, str):
        raise ConfigError(f"{name} is {shown(values)}; expected a list")
    return list(values)


def json_size(size: Any) -> int | list[int]:
    """Return a size as JSON holds it: a whole number, or a list of height and width.

    Raises:
        ConfigError: If it is of another type.
    """
    if isinstance(size, int) and not isinstance(size, bool):
        return size
    if isinstance(size, Sequence) and not isinstance(size, str) and len(size) == 2:
        return list(size)
    raise ConfigError(f"size {shown(size)} is neither a number of pixels nor a pair (height, width)")


def labels_of(
    num_labels: int | None, id2label: Mapping[Any, str] | None, label2id: Mapping[str, int] | None
) -> tuple[dict[int, str], dict[str, int]]:
    """Return id2label and label2id that agree, from whichever were given; two classes if neither is given.

    Raises:
        ConfigError: If they are no such mappings, leave out an index, or disagree with the number.
    """
    ids = None if label2id is None else _class_ids(label2id)
    if id2label is not None:
        names = _class_names(id2label)
    elif ids is not None and num_labels in (None, len(set(ids.values()))):
        names = _class_names({index: label for label, index in ids.items()})
    else:
        count = 2 if num_labels is None else num_labels
        require_whole("num_labels", count, least=0, most=MOST["num_labels"])
        names, ids = {index: f"LABEL_{index}" for index in range(count)}, None
    if num_labels is not None and num_labels != len(names):
        raise ConfigError(f"num_labels is {num_labels} but id2label names {len(names)} classes; give one of them")
    return names, ids or {label: index for index, label in names.items()}


def pruned_of(pruned_heads: Any) -> dict[int, list[int]]:
    """Return the heads that are gone of each layer, without layers that have all.

    Raises:
        ConfigError: If it is no such mapping.
    """
    try:
        named = {int(layer): sorted({int(head) for head in heads}) for layer, heads in pruned_heads.items()}
    except (AttributeError, TypeError, ValueError):
        raise ConfigError(f"pruned_heads is {shown(pruned_heads)}; expected {{layer: [heads]}}") from None
    return {layer: heads for layer, heads in sorted(named.items()) if heads}


def _class_ids(label2id: Any) -> dict[str, int]:
    try:
        return {str(label): int(index) for label, index in label2id.items()}
    except (AttributeError, TypeError, ValueError):
        raise ConfigError(f"label2id is {shown(label2id)}; expected {{name: index}}") from None


def _class_names(id2label: Any) -> dict[int, str]:
    try:
        names = {int(index): str(label) for index, label in id2label.items()}
    except (AttributeError, TypeError, ValueError):
        raise ConfigError(f"id2label is {shown(id2label)}; expected {{index: name}}") from None
    if sorted(names) != list(range(len(names))):
        raise ConfigError(
            f"id2label has the indices {shown(sorted(names))}; expected 0 to {len(names) - 1}, none left out"
        )
    return dict(sorted(names.items()))


def aligned_stages(
    stages: list[str], out_features: Sequence[str] | None, out_indices: Sequence[int] | None
) -> tuple[list[str], list[int]]:
    """Make `out_features` and `out_indices` agree; the last stage if neither is given.

    Raises:
        ConfigError: If they name other stages than there are, one of them twice or out of order, or disagree.
    """
    if out_features is None and out_indices is None:
        return [stages[-1]], [len(stages) - 1]
    if out_indices is not None:
        for index in list_of("out_indices", out_indices):
            if not isinstance(index, int) or not -len(stages) <= index < len(stages):
                raise ConfigError(
                    f"out_indices holds {shown(index)}; expected indices into the {len(stages)} stages {stages}"
                )
        places = [index % len(stages) for index in out_indices]
        if places != sorted(set(places)):
            raise ConfigError(
                f"out_indices is {shown(list(out_indices))}; expected each stage once, in the order of the "
                f"layers: {shown(sorted(set(places)))}"
            )
        named = [stages[index] for index in out_indices]
        if out_features is not None and list_of("out_features", out_features) != named:
            raise ConfigError(
                f"out_features {shown(list(out_features))} and out_indices {shown(list(out_indices))} disagree "
                f"({shown(named)})"
            )
        return named, list(out_indices)
    features = list_of("out_features", out_features)
    for name in features:
        if name not in stages:
            raise ConfigError(f"out_features holds {shown(name)}; expected names of {stages}")
    ordered = [name for name in stages if name in features]
    if features != ordered:
        raise ConfigError(
            f"out_features is {features}; expected each stage once, in the order of the layers: {ordered}"
        )
    return features, [stages.index(name) for name in features]
