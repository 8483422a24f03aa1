"""Registration of outputs with torch's tracers, so that models can be exported."""

from __future__ import annotations

from torch.export import register_dataclass

from beit import outputs


def register_outputs() -> None:
    """Register every output class with torch as a dataclass of its fields."""
    for name in sorted(vars(outputs)):
        kind = getattr(outputs, name)
        if isinstance(kind, type) and issubclass(kind, outputs.ModelOutput) and kind is not outputs.ModelOutput:
            register_dataclass(kind)
