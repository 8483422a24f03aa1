"""Engine for all layouts of parameter names: tables of rules, applied and inverted.

The canonical names are the published ones, those of Hugging Face transformers 4.x, in memory and on disk. A layout is a
table of rules. A rule pairs a foreign name with the canonical one; placeholders such as `{layer}` stand for the parts
that carry over. A foreign tensor under several canonical names is divided along its first axis, and a rule may permute
axes. The same table is applied when reading and inverted when writing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from beit.errors import CheckpointError
from beit.weights.storage.held_tensor import HeldTensor
from beit.weights.storage.lazy_tensor import LazyTensor

# What a placeholder of a name may stand for.
PLACEHOLDERS = {
    "layer": r"\d+",
    "index": r"\d+",
    "param": r"weight|bias",
    "state": r"weight|bias|running_mean|running_var|num_batches_tracked",
    "head": r"decode_head|auxiliary_head",
    "coder": r"encoder|decoder",
    "path": r"(?:\w+\.)*\w+",
    "root": r"beit\.|",  # models with a head keep the encoder under "beit.", the bare model does not
}

Array = Any  # a torch, numpy or jax array
Axes = tuple[int, ...]
# Returns part i of n of a foreign tensor along axis 0, its axes permuted: (tensor, axes, i, n).
Take = Callable[[Any, Axes | None, int, int], Any]
Change = Callable[[NDArray[np.floating]], NDArray[np.floating]]


@dataclass(frozen=True)
class Rule:
    """One line of a layout.

    Attributes:
        foreign: The name on disk.
        canonical: The published name, or the names among which the foreign tensor is divided along axis 0.
        axes: How the axes of the foreign tensor are permuted, None if they stay.
    """

    foreign: str
    canonical: str | tuple[str, ...]
    axes: Axes | None = None

    @property
    def parts(self) -> tuple[str, ...]:
        """The canonical names, in the order of the parts."""
        return (self.canonical,) if isinstance(self.canonical, str) else self.canonical

    @cached_property
    def foreign_pattern(self) -> re.Pattern[str]:
        """The pattern of the foreign name."""
        return _pattern(self.foreign)

    @cached_property
    def canonical_patterns(self) -> tuple[re.Pattern[str], ...]:
        """One pattern per canonical name."""
        return tuple(_pattern(part) for part in self.parts)


@dataclass(frozen=True)
class Layout:
    """A named table of rules.

    Attributes:
        name: Its name in messages.
        rules: The table; the first rule that matches a name counts.
        ignored: Patterns of entries that hold no parameter.
        marker: A name, with placeholders, that only checkpoints of this layout hold.
    """

    name: str
    rules: tuple[Rule, ...]
    ignored: tuple[str, ...] = ()
    marker: str = ""

    def recognises(self, names: Sequence[str]) -> bool:
        """Return whether a checkpoint with these names is of this layout."""
        pattern = _pattern(self.marker)
        return any(pattern.fullmatch(name) for name in names)

    def to_canonical(self, tensors: Mapping[str, Array], take: Take | None = None) -> dict[str, Any]:
        """Rename foreign tensors; names without a rule keep their name, so that loading can report them.

        Args:
            tensors: The tensors of the checkpoint; arrays unless `take` is given.
            take: Returns a part of a tensor.

        Raises:
            CheckpointError: If a tensor cannot be divided, or two have the same canonical name.
        """
        take = take or part_of_array
        renamed: dict[str, Any] = {}
        for name, tensor in tensors.items():
            if any(re.fullmatch(pattern, name) for pattern in self.ignored):
                continue
            rule, canonical = self._match_foreign(name) or (Rule(name, name), (name,))
            for index, part in enumerate(canonical):
                if part in renamed:
                    raise CheckpointError(f"the checkpoint holds {part!r} twice, the second time as {name!r}")
                try:
                    renamed[part] = take(tensor, rule.axes, index, len(canonical))
                except ValueError as error:
                    raise CheckpointError(f"{name!r} holds {canonical}, but {error}; save the model again") from None
        return renamed

    def from_canonical(self, tensors: Mapping[str, Array]) -> dict[str, Array]:
        """Rename canonical tensors to this layout.

        Raises:
            CheckpointError: If the layout has no name for a tensor, or the same name for two, or only some of the
                tensors that it keeps as one are there.
        """
        found: dict[str, dict[int, Array]] = {}
        sources: dict[str, Rule] = {}
        for name, tensor in tensors.items():
            rule, part, foreign = self._match_canonical(name)
            if part in found.setdefault(foreign, {}) or sources.get(foreign, rule) is not rule:
                raise CheckpointError(f"the {self.name} layout has only one place, {foreign!r}, for {name!r} too")
            found[foreign][part] = tensor
            sources[foreign] = rule
        renamed: dict[str, Array] = {}
        for foreign, parts in found.items():
            rule = sources[foreign]
            _check_complete(foreign, rule, parts)
            pieces = [_permuted(parts[index], _inverse(rule.axes)) for index in range(len(rule.parts))]
            renamed[foreign] = pieces[0] if len(pieces) == 1 else _stacked(pieces)
        return renamed

    def _match_foreign(self, name: str) -> tuple[Rule, tuple[str, ...]] | None:
        for rule in self.rules:
            if match := rule.foreign_pattern.fullmatch(name):
                return rule, tuple(part.format(**match.groupdict()) for part in rule.parts)
        return None

    def _match_canonical(self, name: str) -> tuple[Rule, int, str]:
        for rule in self.rules:
            for part, pattern in enumerate(rule.canonical_patterns):
                if match := pattern.fullmatch(name):
                    return rule, part, rule.foreign.format(**match.groupdict())
        raise CheckpointError(
            f"the {self.name} layout has no name for the parameter {name!r}; use a layout that holds this model"
        )


@dataclass(frozen=True)
class Entry:
    """A tensor under its canonical name.

    Attributes:
        stored: Where its values lie, in a file or in memory.
        shape: Shape of the result.
        axes: Permutation of the stored axes.
        change: A last computation on the values (a resized table).
    """

    stored: LazyTensor | HeldTensor
    shape: tuple[int, ...]
    axes: Axes | None = None
    change: Change | None = None

    @property
    def dtype(self) -> str:
        """The type on disk, such as "float32" or "bfloat16"."""
        return self.stored.dtype

    def read(self) -> NDArray[np.generic]:
        """Read the values; bfloat16 comes as uint16 bit patterns, as float32 if the values are changed."""
        array = part_of_array(self.stored.read(), self.axes, 0, 1)
        if self.change is None:
            return array
        return self.change(from_bfloat16(array) if self.dtype == "bfloat16" else array)

    @property
    def is_plain(self) -> bool:
        """True if its bytes on disk are those of its values."""
        return self.change is None and self.axes is None and self.stored.is_plain

    def read_into(self, array: NDArray[np.generic]) -> None:
        """Read a plain tensor into a row-major array of its shape and type (bfloat16: uint16), with no copy between."""
        self.stored.read_into(array)

    @property
    def read_dtype(self) -> str:
        """The type of what `read` returns; "bfloat16" stands for its bit patterns."""
        return "float32" if self.change is not None and self.dtype == "bfloat16" else self.dtype

    def changed(self, shape: tuple[int, ...], change: Change) -> Entry:
        """Return this tensor with its values changed when it is read, after the changes that it has already."""
        return replace(self, shape=shape, change=change if self.change is None else partial(_both, self.change, change))


def _both(first: Change, second: Change, array: NDArray[np.floating]) -> NDArray[np.floating]:
    return second(first(array))


def entry_of(stored: LazyTensor | HeldTensor, axes: Axes | None = None, index: int = 0, count: int = 1) -> Entry:
    """Return part `index` of `count` of a stored tensor along axis 0, as one canonical tensor.

    Raises:
        ValueError: If it cannot be divided so.
    """
    if count > 1:
        rows = rows_of_part(stored.shape, count)
        stored = stored.rows(index * rows, rows)
    return Entry(stored, part_of_shape(stored.shape, axes, 0, 1), axes)


def from_bfloat16(bits: NDArray[np.generic]) -> NDArray[np.float32]:
    """Return the values of bfloat16 bit patterns: the upper half of a float32."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


def part_of_array(array: Array, axes: Axes | None, index: int, count: int) -> Array:
    """Return part `index` of `count` of an array along axis 0, its axes permuted.

    Raises:
        ValueError: If it cannot be divided so.
    """
    if count == 1:
        return _permuted(array, axes)
    rows = rows_of_part(array.shape, count)
    return _permuted(array[index * rows : (index + 1) * rows], axes)


def part_of_shape(shape: tuple[int, ...], axes: Axes | None, index: int, count: int) -> tuple[int, ...]:
    """Return the shape of `part_of_array` of an array of some shape.

    Raises:
        ValueError: If it cannot be divided so.
    """
    del index  # all parts are equal
    if count > 1:
        shape = (rows_of_part(shape, count), *shape[1:])
    return tuple(shape[axis] for axis in axes) if axes and len(axes) == len(shape) else shape


def rows_of_part(shape: tuple[int, ...], count: int) -> int:
    """Return the rows of each of `count` equal parts.

    Raises:
        ValueError: If there are none.
    """
    if not shape or shape[0] % count:
        raise ValueError(f"a tensor of shape {tuple(shape)} has no {count} equal parts")
    return shape[0] // count


def _pattern(template: str) -> re.Pattern[str]:
    """Turn a name with placeholders into a regular expression with groups of the same names."""
    pieces = re.split(r"\{(\w+)\}", template)
    literals, fields = pieces[::2], pieces[1::2]
    pattern = re.escape(literals[0])
    for field, literal in zip(fields, literals[1:], strict=True):
        pattern += f"(?P<{field}>{PLACEHOLDERS[field]})" + re.escape(literal)
    return re.compile(pattern)


def _check_complete(foreign: str, rule: Rule, parts: Mapping[int, Array]) -> None:
    if len(parts) < len(rule.parts):
        match = rule.foreign_pattern.fullmatch(foreign)
        fields = match.groupdict() if match else {}
        absent = [name.format(**fields) for index, name in enumerate(rule.parts) if index not in parts]
        raise CheckpointError(f"the model lacks {absent} of which {foreign!r} is made; it is incomplete")


def _permuted(tensor: Array, axes: Axes | None) -> Array:
    if axes is None:
        return tensor
    return tensor.permute(axes) if hasattr(tensor, "permute") else tensor.transpose(axes)  # torch and numpy


def _inverse(axes: Axes | None) -> Axes | None:
    return None if axes is None else tuple(axes.index(axis) for axis in range(len(axes)))


def _stacked(parts: Sequence[Array]) -> Array:
    """Return arrays stacked along axis 0."""
    first = parts[0]
    if isinstance(first, np.ndarray):
        return np.concatenate(parts)
    rows = [len(part) for part in parts]
    stacked = first.new_empty((sum(rows), *first.shape[1:]))  # torch, which is not imported here
    for part, piece in zip(parts, stacked.split(rows), strict=True):
        piece.copy_(part)
    return stacked
