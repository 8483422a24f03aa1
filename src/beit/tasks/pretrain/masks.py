"""Masks of a pre-training: their sizes where the settings leave them open, and the plan that draws them."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np

from beit.engine.recorded import AUTO, Choice
from beit.errors import ConfigError
from beit.geometry import PAPER_MASKS, Grid, MaskPlan
from beit.settings.pretrain import MaskSettings

_TRIED = 256  # masks, so that settings for which few blocks fit fail before the run


def mask_choices(settings: MaskSettings, grid: Grid) -> list[Choice]:
    """Return what the sizes that are `auto` stand for: the paper's shares of the grid, one patch at least."""
    choices = list[Choice]()
    for name, paper in (("count", PAPER_MASKS.count), ("min_block", PAPER_MASKS.min_block)):
        if getattr(settings, name) == AUTO:
            share = paper / PAPER_MASKS.grid.patches
            reason = f"of {grid.patches} patches, as {paper} of {PAPER_MASKS.grid.patches} in the paper"
            choices.append(Choice(f"mask.{name}", max(1, round(share * grid.patches)), reason))
    return choices


def mask_plan(settings: MaskSettings, grid: Grid) -> MaskPlan:
    """Return the plan of the masks, after trying it so that impossible settings fail before the run.

    Raises:
        ConfigError: If the grid has no room for such masks.
    """
    sizes = {choice.setting.removeprefix("mask."): choice.value for choice in mask_choices(settings, grid)}
    plan = MaskPlan(grid, **asdict(settings) | sizes)
    try:
        plan.draw([np.random.default_rng(number) for number in range(_TRIED)])
    except ConfigError as error:
        raise ConfigError(f"{error} (settings mask.count and mask.min_block)") from None
    return plan
