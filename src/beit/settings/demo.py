"""Settings of the demo."""

from __future__ import annotations

from pydantic.dataclasses import dataclass

from beit.settings.base import STRICT, Settings


@dataclass(frozen=True, config=STRICT)
class DemoJob(Settings):
    """Run the whole job on embedded digits."""

    output: str = "runs/demo"
    """Folder for everything the demo makes."""
    quick: bool = False
    """A twentieth of the steps: shows that everything works, and not what pre-training gives."""
