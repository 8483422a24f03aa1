"""Registration of outputs with torch's tracers, so that models can be exported."""

from __future__ import annotations

import torch
from torch.export import register_dataclass

from beit import outputs
from beit.geometry import Grid


def register_outputs() -> None:
    """Register every output class with torch as a dataclass of its fields."""
    for name in sorted(vars(outputs)):
        kind = getattr(outputs, name)
        if isinstance(kind, type) and issubclass(kind, outputs.ModelOutput) and kind is not outputs.ModelOutput:
            register_dataclass(kind)


def is_same(grid: Grid, other: Grid) -> bool:
    """Return whether two grids are the same.

    A program that is compiled for any size must not ask: the answer would fix its size. There only grids that are the
    same for sure are, and resampling to the same grid changes nothing.
    """
    if torch.compiler.is_compiling():
        from torch.fx.experimental.symbolic_shapes import statically_known_true  # half a second of algebra

        return all(statically_known_true(mine == its) for mine, its in zip(grid, other, strict=True))
    return grid == other
