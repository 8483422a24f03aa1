"""What torch's tracers need to know of our outputs, so that models can be exported."""

from __future__ import annotations

from torch.export import register_dataclass

from beit import outputs


def register_outputs() -> None:
    """Tell torch that an output is its fields."""
    for name in sorted(vars(outputs)):
        kind = getattr(outputs, name)
        if isinstance(kind, type) and issubclass(kind, outputs.ModelOutput) and kind is not outputs.ModelOutput:
            register_dataclass(kind)
