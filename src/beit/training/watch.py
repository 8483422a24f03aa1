"""A run as a person would look at it while it works: where it is, its newest numbers, and how they went."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from rich.table import Table

from beit.errors import ConfigError
from beit.training.metrics import read_metrics
from beit.training.run_folder import RunFolder

_BARS = "▁▂▃▄▅▆▇█"
_WIDTH = 40
_HIDDEN = {"step", "split", "epoch"}


def open_run(path: str | Path) -> RunFolder:
    """Return the folder of a run.

    Raises:
        ConfigError: If there is none.
    """
    folder = RunFolder(path)
    if not folder.recipe.exists():
        raise ConfigError(f"{path} holds no run (no {folder.recipe.name}); name the run.output of one")
    return folder


def overview(folder: RunFolder) -> Table:
    """Return a table of a run's numbers: the newest of each, and a curve of the last part of the run."""
    lines = read_metrics(folder.metrics)
    state = "finished" if folder.finished else "running, or stopped"
    step = max((line["step"] for line in lines), default=0)
    table = Table(title=f"{folder.path}: step {step:,}{_total(folder)}, {state}", title_justify="left")
    table.add_column("measured")
    table.add_column("newest", justify="right")
    table.add_column("so far")
    for split in ("train", "val"):
        chosen = [line for line in lines if line["split"] == split]
        for name in dict.fromkeys(name for line in chosen for name in line if name not in _HIDDEN):
            values = [line[name] for line in chosen if name in line]
            table.add_row(f"{name}, {split}" if split == "val" else name, f"{values[-1]:,.5g}", sparkline(values))
    return table


def sparkline(values: Sequence[float]) -> str:
    """Return the last values as bars between their least and their largest."""
    shown = list(values)[-_WIDTH:]
    least, most = min(shown), max(shown)
    if len(shown) < 2 or not least < most:  # constant, or not finite
        return ""
    return "".join(_BARS[round((value - least) / (most - least) * (len(_BARS) - 1))] for value in shown)


def _total(folder: RunFolder) -> str:
    recipe: Any = yaml.safe_load(folder.recipe.read_text(encoding="utf-8"))
    steps = recipe.get("train", {}).get("max_steps")
    return f" of {steps:,}" if steps else ""
