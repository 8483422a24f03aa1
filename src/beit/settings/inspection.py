"""Settings of the commands that only show something: checkpoints, recipes, a path, a run, completion, a machine."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
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
class InfoJob(Settings):
    """Say what a path holds."""

    path: str
    """A model, run, tokenizer, folder of tokens, exported model or page, recipe, file of labels, label maps, picture or
    collection of pictures; or a published name."""


@dataclass(frozen=True, config=STRICT)
class CompletionJob(Settings):
    """Print the completion of a shell."""

    shell: Literal["bash", "zsh", "fish"]
    """Shell that completes."""


@dataclass(frozen=True, config=STRICT)
class DoctorJob(Settings):
    """Show what this machine and installation have."""

    time: bool = True
    """Time matrix products, which takes some seconds."""
    ways: bool = False
    """List the times of every computation of the models so far, the fastest way first."""


@dataclass(frozen=True, config=STRICT)
class WatchJob(Settings):
    """Look at a run while it works."""

    run: str
    """Run folder: the run.output of a training."""
    every: float = Field(default=2.0, ge=0.1)
    """Seconds between two looks."""
    once: bool = False
    """Look once and end."""
