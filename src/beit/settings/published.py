"""Settings of the commands that only show something: published checkpoints, recipes, this machine."""

from __future__ import annotations

from pydantic.dataclasses import dataclass

from beit.settings.base import STRICT, Settings


@dataclass(frozen=True, config=STRICT)
class ModelsJob(Settings):
    """List the published checkpoints."""

    plain: bool = False
    """One line per checkpoint, with tabs, for other programs."""


@dataclass(frozen=True, config=STRICT)
class RecipesJob(Settings):
    """List the recipes of the package, or print one."""

    name: str | None = None
    """Recipe to print; null lists all."""
    plain: bool = False
    """One line per recipe, with tabs, for other programs."""


@dataclass(frozen=True, config=STRICT)
class DoctorJob(Settings):
    """Show what this machine and installation have."""

    time: bool = True
    """Time matrix products, which takes some seconds."""
