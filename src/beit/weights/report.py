"""What happened when a checkpoint was loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from beit.errors import CheckpointError

Shape = tuple[int, ...]


@dataclass(frozen=True)
class LoadReport:
    """The differences between a checkpoint and the model it was loaded into.

    Attributes:
        new: Parameters that the checkpoint has no values for; they keep their initial values.
        left_out: Tensors of the checkpoint that the model has no place for.
        adapted: What was changed on the way, in words.
    """

    new: list[str] = field(default_factory=list[str])
    left_out: list[str] = field(default_factory=list[str])
    adapted: list[str] = field(default_factory=list[str])

    def __bool__(self) -> bool:
        return bool(self.new or self.left_out or self.adapted)

    def __str__(self) -> str:
        lines = list(self.adapted)
        if self.new:
            lines.append(f"new, not from the checkpoint: {', '.join(self.new)}")
        if self.left_out:
            lines.append(f"in the checkpoint, not used: {', '.join(self.left_out)}")
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
    report, problems = LoadReport(), list[str]()
    for name in expected.keys() - found.keys():
        (report.new if _matches(name, may_be_new) else problems).append(name)
    missing = sorted(problems)
    wrong = list[str]()
    for name in expected.keys() & found.keys():
        if expected[name] == found[name]:
            continue
        if _matches(name, may_be_reshaped):
            report.new.append(name)
        else:
            wrong.append(f"{name} is {found[name]}, the model has {expected[name]}")
    unexpected = list[str]()
    for name in found.keys() - expected.keys():
        (report.left_out if _matches(name, may_be_left_out) else unexpected).append(name)
    problems = [
        f"{len(names)} {kind}: {_listed(names)}"
        for kind, names in (("missing", missing), ("of another shape", sorted(wrong)), ("unknown", sorted(unexpected)))
        if names
    ]
    if problems:
        raise CheckpointError(
            f"{source} does not fit the model, {'; '.join(problems)}. Check that the checkpoint belongs to this config"
        )
    return LoadReport(sorted(report.new), sorted(report.left_out), report.adapted)


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _listed(names: Sequence[str], most: int = 6) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
