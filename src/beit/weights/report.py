"""What happened when a checkpoint was loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from beit.errors import CheckpointError

Shape = tuple[int, ...]


@dataclass(frozen=True)
class LoadReport:
    """The differences between a checkpoint and the model it was loaded into; names are canonical.

    Attributes:
        missing: Parameters that the checkpoint does not hold.
        unexpected: Tensors of the checkpoint that the model has no place for.
        new: Parameters that keep their initial values: the missing ones, and those of a head for other classes.
        resized: Tables and positions that were resampled to another image size.
        adapted: What was changed on the way, in words, with the method.
    """

    missing: list[str] = field(default_factory=list[str])
    unexpected: list[str] = field(default_factory=list[str])
    new: list[str] = field(default_factory=list[str])
    resized: list[str] = field(default_factory=list[str])
    adapted: list[str] = field(default_factory=list[str])

    def as_loading_info(self) -> dict[str, list[str]]:
        """Return the mapping that the published `from_pretrained(..., output_loading_info=True)` gives."""
        return {
            "missing_keys": self.missing,
            "unexpected_keys": self.unexpected,
            "mismatched_keys": sorted(set(self.new) - set(self.missing)),
            "error_msgs": [],
        }

    @property
    def silent(self) -> bool:
        """Whether there is nothing to tell: every parameter was loaded as it was."""
        return not (self.new or self.unexpected or self.adapted)

    def __str__(self) -> str:
        lines = list(self.adapted)
        if self.new:
            lines.append(f"new, not from the checkpoint: {', '.join(self.new)} (as expected where training follows)")
        if self.unexpected:
            lines.append(f"in the checkpoint, not used: {', '.join(self.unexpected)}")
        return "; ".join(lines) or "every parameter was loaded"


def check_fit(
    source: str,
    found: Mapping[str, Shape],
    expected: Mapping[str, Shape],
    may_be_new: Sequence[str] = (),
    may_be_left_out: Sequence[str] = (),
    may_be_reshaped: Sequence[str] = (),
) -> LoadReport:
    """Compare the shapes of a checkpoint with those of a model.

    Args:
        source: The checkpoint, for messages.
        found: Shapes in the checkpoint, by canonical name.
        expected: Shapes of the model.
        may_be_new: Patterns of names that a checkpoint may lack.
        may_be_left_out: Patterns of names that a model may have no use for.
        may_be_reshaped: Patterns of names that may have another shape, and are new then (a head for other classes).

    Raises:
        CheckpointError: Listing every other difference by name.
    """
    missing, unexpected = expected.keys() - found.keys(), found.keys() - expected.keys()
    reshaped = {name for name in expected.keys() & found.keys() if expected[name] != found[name]}
    refused = {
        "missing": [name for name in missing if not _matches(name, may_be_new)],
        "of another shape": [
            f"{name} is {found[name]}, the model has {expected[name]}"
            for name in reshaped
            if not _matches(name, may_be_reshaped)
        ],
        "unknown": [name for name in unexpected if not _matches(name, may_be_left_out)],
    }
    problems = [f"{len(names)} {kind}: {_listed(sorted(names))}" for kind, names in refused.items() if names]
    if problems:
        raise CheckpointError(
            f"{source} does not fit the model, {'; '.join(problems)}. Check that the checkpoint belongs to this config"
        )
    return LoadReport(sorted(missing), sorted(unexpected), sorted(missing | reshaped))


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _listed(names: Sequence[str], most: int = 6) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
