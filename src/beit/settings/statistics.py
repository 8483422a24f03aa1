"""Settings of the statistics of pictures."""

from __future__ import annotations

from pydantic import Field
from pydantic.dataclasses import dataclass

from beit.settings.base import STRICT, Settings
from beit.settings.groups import PictureSettings


@dataclass(frozen=True, config=STRICT)
class StatisticsJob(Settings):
    """Measure the colour channels of pictures."""

    data: PictureSettings
    """Data"""
    pictures: int = Field(default=2000, ge=1)
    """Most pictures to measure, chosen by the seed."""
    seed: int = Field(default=0, ge=0)
    """Seed of the choice."""
    output: str | None = None
    """Write the numbers to this JSON file."""
