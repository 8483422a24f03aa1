"""Settings of watching a run."""

from __future__ import annotations

from pydantic import Field
from pydantic.dataclasses import dataclass

from beit.settings.base import STRICT, Settings


@dataclass(frozen=True, config=STRICT)
class WatchJob(Settings):
    """Look at a run while it works."""

    run: str
    """Run folder: the run.output of a training."""
    every: float = Field(default=2.0, ge=0.1)
    """Seconds between two looks."""
    once: bool = False
    """Look once and end."""
