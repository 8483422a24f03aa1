"""One engine for every layout of parameter names.

A layout is a table of rules. A rule pairs a foreign name with the canonical one; placeholders such as `{layer}` stand
for the parts that carry over. Several foreign tensors under one canonical name are stacked along the first axis, and a
rule may permute axes. The same table is applied when reading and inverted when writing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from beit.errors import CheckpointError
from beit.weights.storage.stored import StoredTensor

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
# Makes one canonical tensor of its foreign parts: permute each, then stack along axis 0.
Assemble = Callable[[Sequence[Any], Axes | None], Any]
Change = Callable[[NDArray[np.floating]], NDArray[np.floating]]


@dataclass(frozen=True)
class Rule:
    """One line of a layout.

    Attributes:
        foreign: The name on disk, or the names whose tensors are stacked along axis 0.
        canonical: The name inside this package.
        axes: How the axes of each foreign tensor are permuted, None if they stay.
    """

    foreign: str | tuple[str, ...]
    canonical: str
    axes: Axes | None = None

    @property
    def parts(self) -> tuple[str, ...]:
        """The foreign names, in stacking order."""
        return (self.foreign,) if isinstance(self.foreign, str) else self.foreign

    @cached_property
    def foreign_patterns(self) -> tuple[re.Pattern[str], ...]:
        """One pattern per foreign name."""
        return tuple(_pattern(part) for part in self.parts)

    @cached_property
    def canonical_pattern(self) -> re.Pattern[str]:
        """The pattern of the canonical name."""
        return _pattern(self.canonical)


@dataclass(frozen=True)
class Layout:
    """A named table of rules.

    Attributes:
        name: For messages.
        rules: The table; the first rule that fits a name counts.
        ignored: Patterns of entries that hold no parameter.
        marker: A name, with placeholders, that only checkpoints of this layout hold.
    """

    name: str
    rules: tuple[Rule, ...]
    ignored: tuple[str, ...] = ()
    marker: str = ""

    def recognises(self, names: Sequence[str]) -> bool:
        """Tell whether a checkpoint with these names is of this layout."""
        pattern = _pattern(self.marker)
        return any(pattern.fullmatch(name) for name in names)

    def to_canonical(self, tensors: Mapping[str, Array], assemble: Assemble | None = None) -> dict[str, Any]:
        """Rename foreign tensors; names without a rule keep their name, so that loading can report them.

        Args:
            tensors: What the checkpoint holds; numpy arrays unless `assemble` is given.
            assemble: Makes one canonical tensor of its parts.

        Raises:
            CheckpointError: If only some of the tensors that belong together are there.
        """
        assemble = assemble or assemble_arrays
        found: dict[str, dict[int, Array]] = {}
        sources: dict[str, Rule] = {}
        renamed: dict[str, Any] = {}
        for name, tensor in tensors.items():
            if any(re.fullmatch(pattern, name) for pattern in self.ignored):
                continue
            match = self._match_foreign(name)
            if match is None:
                renamed[name] = assemble([tensor], None)
                continue
            rule, part, canonical = match
            if part in found.setdefault(canonical, {}):
                raise CheckpointError(f"the checkpoint holds {canonical!r} twice, the second time as {name!r}")
            found[canonical][part] = tensor
            sources[canonical] = rule
        for canonical, parts in found.items():
            rule = sources[canonical]
            _check_complete(canonical, rule, parts)
            renamed[canonical] = assemble([parts[index] for index in range(len(rule.parts))], rule.axes)
        return renamed

    def from_canonical(self, tensors: Mapping[str, Array]) -> dict[str, Array]:
        """Rename canonical tensors to this layout.

        Raises:
            CheckpointError: If the layout has no name for a tensor, or the same name for two.
        """
        renamed: dict[str, Array] = {}
        for name, tensor in tensors.items():
            for rule in self.rules:
                if match := rule.canonical_pattern.fullmatch(name):
                    names = [part.format(**match.groupdict()) for part in rule.parts]
                    if taken := renamed.keys() & set(names):
                        raise CheckpointError(f"the {self.name} layout has only one place, {taken}, for {name!r} too")
                    pieces = (_permuted(piece, _inverse(rule.axes)) for piece in _split(tensor, len(names)))
                    renamed.update(zip(names, pieces, strict=True))
                    break
            else:
                raise CheckpointError(
                    f"the {self.name} layout has no name for the parameter {name!r}; use a layout that holds this model"
                )
        return renamed

    def _match_foreign(self, name: str) -> tuple[Rule, int, str] | None:
        for rule in self.rules:
            for part, pattern in enumerate(rule.foreign_patterns):
                if match := pattern.fullmatch(name):
                    return rule, part, rule.canonical.format(**match.groupdict())
        return None


@dataclass(frozen=True)
class Entry:
    """A tensor under its canonical name, made of one or several stored tensors when it is read.

    Attributes:
        parts: Stored tensors, stacked along axis 0.
        shape: Shape of the result.
        axes: Permutation of each part before stacking.
        change: A last computation on the values (a resized table).
    """

    parts: tuple[StoredTensor, ...]
    shape: tuple[int, ...]
    axes: Axes | None = None
    change: Change | None = None

    @property
    def dtype(self) -> str:
        """The type on disk, such as "float32" or "bfloat16"."""
        return self.parts[0].dtype

    def read(self) -> NDArray[np.generic]:
        """Read the values; bfloat16 comes as uint16 bit patterns, as float32 if the values are changed."""
        array = assemble_arrays([part.read() for part in self.parts], self.axes)
        if self.change is None:
            return array
        return self.change(from_bfloat16(array) if self.dtype == "bfloat16" else array)

    @property
    def is_plain(self) -> bool:
        """Whether its bytes on disk, part after part, are those of its values."""
        return self.change is None and self.axes is None and all(part.is_plain for part in self.parts)

    def read_into(self, array: NDArray[np.generic]) -> None:
        """Read a plain tensor into a row-major array of its shape and type (bfloat16: uint16), with no copy between."""
        if len(self.parts) == 1:
            self.parts[0].read_into(array)
            return
        first = 0
        for part in self.parts:
            part.read_into(array[first : first + part.shape[0]])
            first += part.shape[0]

    @property
    def read_dtype(self) -> str:
        """The type of what `read` returns; "bfloat16" stands for its bit patterns."""
        return "float32" if self.change is not None and self.dtype == "bfloat16" else self.dtype

    def changed(self, shape: tuple[int, ...], change: Change) -> Entry:
        """Return this tensor with its values changed when it is read."""
        return replace(self, shape=shape, change=change)


def entry_of(parts: Sequence[StoredTensor], axes: Axes | None) -> Entry:
    """Make one canonical tensor of stored ones."""
    return Entry(tuple(parts), assembled_shape([part.shape for part in parts], axes), axes)


def from_bfloat16(bits: NDArray[np.generic]) -> NDArray[np.float32]:
    """Return the values of bfloat16 bit patterns: the upper half of a float32."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


def assemble_arrays(parts: Sequence[Array], axes: Axes | None) -> Array:
    """Make one canonical array of numpy arrays."""
    arrays = [_permuted(part, axes) for part in parts]
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)


def assembled_shape(shapes: Sequence[tuple[int, ...]], axes: Axes | None) -> tuple[int, ...]:
    """Return the shape of `assemble_arrays` for parts of these shapes, () for parts that do not fit together."""
    permuted = [tuple(shape[axis] for axis in axes) if axes and len(axes) == len(shape) else shape for shape in shapes]
    first, *others = permuted
    if not others:
        return first
    if not first or any(other[1:] != first[1:] for other in others):
        return ()
    return (sum(shape[0] for shape in permuted), *first[1:])


def _pattern(template: str) -> re.Pattern[str]:
    """Turn a name with placeholders into a regular expression with groups of the same names."""
    pieces = re.split(r"\{(\w+)\}", template)
    literals, fields = pieces[::2], pieces[1::2]
    pattern = re.escape(literals[0])
    for field, literal in zip(fields, literals[1:], strict=True):
        pattern += f"(?P<{field}>{PLACEHOLDERS[field]})" + re.escape(literal)
    return re.compile(pattern)


def _check_complete(canonical: str, rule: Rule, parts: Mapping[int, Array]) -> None:
    if len(parts) < len(rule.parts):
        match = rule.canonical_pattern.fullmatch(canonical)
        fields = match.groupdict() if match else {}
        absent = [name.format(**fields) for index, name in enumerate(rule.parts) if index not in parts]
        raise CheckpointError(f"the checkpoint lacks {absent} of which {canonical!r} is made; it is incomplete")


def _permuted(tensor: Array, axes: Axes | None) -> Array:
    if axes is None:
        return tensor
    return tensor.permute(axes) if hasattr(tensor, "permute") else tensor.transpose(axes)  # torch and numpy


def _inverse(axes: Axes | None) -> Axes | None:
    return None if axes is None else tuple(axes.index(axis) for axis in range(len(axes)))


def _split(tensor: Array, count: int) -> Sequence[Array]:
    rows = len(tensor) // count if count > 1 else 0
    return [tensor] if count == 1 else [tensor[index * rows : (index + 1) * rows] for index in range(count)]
