"""One engine for every layout of parameter names.

A layout is a table of rules. A rule pairs a foreign name with the canonical one; `{layer}`, `{param}` and `{root}`
stand for the parts that carry over. Several foreign tensors under one canonical name are stacked along the first axis.
The same table is applied when reading and inverted when writing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from beit.errors import CheckpointError

# What a placeholder of a name may stand for.
PLACEHOLDERS = {
    "layer": r"\d+",
    "param": r"weight|bias",
    "root": r"beit\.|",  # models with a head keep the encoder under "beit.", the bare model does not
}

Array = Any  # a torch, numpy or jax array; the engine only slices and stacks it
Stack = Callable[[list[Any], int], Any]  # torch.cat, numpy.concatenate or jax.numpy.concatenate


@dataclass(frozen=True)
class Rule:
    """One line of a layout.

    Attributes:
        foreign: The name on disk, or the names whose tensors are stacked along axis 0.
        canonical: The name inside this package.
    """

    foreign: str | tuple[str, ...]
    canonical: str

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
    """A named table of rules, and the patterns of entries that hold no parameter."""

    name: str
    rules: tuple[Rule, ...]
    ignored: tuple[str, ...] = ()

    def to_canonical(self, tensors: Mapping[str, Array], stack: Stack) -> dict[str, Array]:
        """Rename foreign tensors; names without a rule keep their name, so that loading can report them.

        Raises:
            CheckpointError: If only some of the tensors that belong together are there.
        """
        found: dict[str, dict[int, Array]] = {}
        sources: dict[str, Rule] = {}
        renamed: dict[str, Array] = {}
        for name, tensor in tensors.items():
            if any(re.fullmatch(pattern, name) for pattern in self.ignored):
                continue
            match = self._match_foreign(name)
            if match is None:
                renamed[name] = tensor
                continue
            rule, part, canonical = match
            found.setdefault(canonical, {})[part] = tensor
            sources[canonical] = rule
        for canonical, parts in found.items():
            renamed[canonical] = _joined(canonical, sources[canonical], parts, stack)
        return renamed

    def from_canonical(self, tensors: Mapping[str, Array]) -> dict[str, Array]:
        """Rename canonical tensors to this layout.

        Raises:
            CheckpointError: If the layout has no name for a tensor.
        """
        renamed: dict[str, Array] = {}
        for name, tensor in tensors.items():
            for rule in self.rules:
                if match := rule.canonical_pattern.fullmatch(name):
                    names = [part.format(**match.groupdict()) for part in rule.parts]
                    renamed.update(zip(names, _split(tensor, len(names)), strict=True))
                    break
            else:
                raise CheckpointError(f"the {self.name} layout has no name for the parameter {name!r}")
        return renamed

    def _match_foreign(self, name: str) -> tuple[Rule, int, str] | None:
        for rule in self.rules:
            for part, pattern in enumerate(rule.foreign_patterns):
                if match := pattern.fullmatch(name):
                    return rule, part, rule.canonical.format(**match.groupdict())
        return None


def _pattern(template: str) -> re.Pattern[str]:
    """Turn a name with placeholders into a regular expression with groups of the same names."""
    pieces = re.split(r"\{(\w+)\}", template)
    literals, fields = pieces[::2], pieces[1::2]
    pattern = re.escape(literals[0])
    for field, literal in zip(fields, literals[1:], strict=True):
        pattern += f"(?P<{field}>{PLACEHOLDERS[field]})" + re.escape(literal)
    return re.compile(pattern)


def _joined(canonical: str, rule: Rule, parts: Mapping[int, Array], stack: Stack) -> Array:
    if len(parts) < len(rule.parts):
        match = rule.canonical_pattern.fullmatch(canonical)
        fields = match.groupdict() if match else {}
        absent = [name.format(**fields) for index, name in enumerate(rule.parts) if index not in parts]
        raise CheckpointError(f"the checkpoint lacks {absent} of which {canonical!r} is made; it is incomplete")
    return parts[0] if len(rule.parts) == 1 else stack([parts[index] for index in range(len(rule.parts))], 0)


def _split(tensor: Array, count: int) -> Sequence[Array]:
    rows = len(tensor) // count if count > 1 else 0
    return [tensor] if count == 1 else [tensor[index * rows : (index + 1) * rows] for index in range(count)]
