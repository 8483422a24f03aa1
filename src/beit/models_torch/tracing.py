"""What torch's tracers need to know of our outputs, so that models can be exported."""

from __future__ import annotations

import torch
from torch.export import register_dataclass

from beit import outputs
from beit.geometry import Grid


def register_outputs() -> None:
    """Tell torch that an output is its fields."""
    for name in sorted(vars(outputs)):
        kind = getattr(outputs, name)
        if isinstance(kind, type) and issubclass(kind, outputs.ModelOutput) and kind is not outputs.ModelOutput:
            register_dataclass(kind)


def is_same(grid: Grid, other: Grid) -> bool:
    """Tell whether two grids are the same.

    A program that is compiled for any size must not ask: the answer would fix its size. There only grids that are the
    same for sure are, and resampling to the same grid changes nothing.
    """
    if torch.compiler.is_compiling():
        from torch.fx.experimental.symbolic_shapes import statically_known_true  # half a second of algebra

        return all(statically_known_true(mine == its) for mine, its in zip(grid, other, strict=True))
    return grid == other
