"""Text overview of a run while it works: its progress, its newest metrics, and their history."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from beit.engine.metrics import Line, duration
from beit.engine.run_folder import RunFolder
from beit.engine.run_state import RunState, state_now
from beit.errors import printable
from beit.reports.units import in_words, is_share

_BARS = "▁▂▃▄▅▆▇█"
_WIDTH = 40
_HIDDEN = {"step", "split", "epoch"}
_OF_LAYERS = "layer_"  # splits of the monitor that a table of a run has no room for
_MONITORED = {  # of the best layer, on pictures of which nothing is hidden
    "knn": "kNN accuracy",
    "knn_layer": "its layer",
    "ridge": "ridge probe accuracy",
    "ridge_layer": "its layer",
    "retrieval": "views that find each other",
    "retrieval_layer": "their layer",
    "rankme": "effective rank (RankMe)",
    "rankme_layer": "its layer",
    "position_spread": "spread over positions",
}
_WORDS = {  # in the order of the table; other metrics come between the learning and the machine
    "loss": "loss",
    "held_out_loss": "validation loss",
    "aggregation_loss": "loss of the patch aggregation",
    "frequency_loss": "loss of the token frequencies",
    "accuracy": "accuracy",
    "frequency_accuracy": "accuracy of the token frequencies",
    "prediction_perplexity": "perplexity of the predictions",
    "target_perplexity": "perplexity of the targets",
    **_MONITORED,
    "lr": "learning rate",
    "weight_decay": "weight decay",
    "grad_norm": "gradient norm",
}
_MACHINE = {
    "images_per_second": "images per second",
    "flops_utilisation": "model FLOP utilisation",
    "data_wait": "time waiting for data",
    "memory_gib": "memory, GiB",
}


def overview(folder: RunFolder) -> RenderableType:
    """Return the overview of a run: its state and progress, its metrics so far, and its files."""
    state = state_now(folder)
    at_work = state.folder
    title = Text(printable(str(folder.path)), style="bold")
    if at_work is not folder:
        title.append(" (its tokenizer first)", style="not bold")
    parts: list[RenderableType] = [title, Text(f"{_place(state)}: {state.doing}")]
    if state.steps is not None and not at_work.finished:
        parts.append(ProgressBar(total=state.steps, completed=state.step, width=2 * _WIDTH))
    if state.lines:
        parts.append(Padding(_numbers(state), (1, 0)))
    return Group(*parts, *_files(state))


def sparkline(values: Sequence[float]) -> str:
    """Return all values as bars between their least and their largest, many of them thinned out."""
    every = (len(values) - 1) / (_WIDTH - 1)
    shown = list(values) if len(values) <= _WIDTH else [values[round(place * every)] for place in range(_WIDTH)]
    finite = [value for value in shown if math.isfinite(value)]
    least, most = min(finite, default=0.0), max(finite, default=0.0)
    if not least < most:  # constant, or nothing to show
        return ""
    scale = (len(_BARS) - 1) / (most - least)
    return "".join(_BARS[round((value - least) * scale)] if math.isfinite(value) else "!" for value in shown)


def _place(state: RunState) -> str:
    total = f" of {state.steps:,}" if state.steps is not None else ""
    epoch = next((line["epoch"] for line in reversed(state.lines) if "epoch" in line), None)
    passes = f" (epoch {epoch:,.1f})" if epoch is not None else ""
    left = f", about {duration(state.seconds_left)} left" if state.seconds_left else ""
    return f"step {state.step:,}{total}{passes}{left}"


def _numbers(state: RunState) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("", no_wrap=True)
    table.add_column("newest", justify="right", no_wrap=True)
    table.add_column("so far", no_wrap=True)
    table.add_column("least", justify="right", no_wrap=True, style="dim")
    table.add_column("most", justify="right", no_wrap=True, style="dim")
    names = dict.fromkeys((name, line["split"]) for line in _shown_lines(state) for name in line if name not in _HIDDEN)
    words = {**_WORDS, **_MACHINE}
    order = [*_WORDS, *(name for name, _ in names if name not in words), *_MACHINE]
    for name, split in sorted(names, key=lambda named: (order.index(named[0]), named[1])):
        values = [line[name] for line in state.lines if name in line and line["split"] == split]
        label = words.get(name, in_words(name))
        if split == "val" and name != "held_out_loss" and not name.startswith("frequency") and name not in _MONITORED:
            label += ", held out"
        if split == "pixels":
            label += ", raw pixels"
        history = sparkline(values)
        ends = [_shown(name, end(values)) if history else "" for end in (min, max)]
        table.add_row(Text(printable(label)), _shown(name, values[-1]), Text(history, style="cyan"), *ends)
    return table


def _shown_lines(state: RunState) -> list[Line]:
    """Return the lines of the metrics without those of single layers."""
    return [line for line in state.lines if not line["split"].startswith(_OF_LAYERS)]


def _shown(name: str, value: float) -> str:
    return f"{value:.2%}" if is_share(name) else f"{value:,.4g}" if value < 10_000 else f"{value:,.0f}"


def _files(state: RunState) -> list[Text]:
    """Return lines about the newest checkpoint, broken pictures, and what there is to look at."""
    folder = state.folder
    lines = ["no checkpoint yet"]
    if state.checkpoint is not None:
        lines = [f"last checkpoint: step {state.checkpoint:,}, {duration(state.checkpoint_age)} ago"]
    where = f", listed in {folder.broken}" if state.broken else ""
    lines.append(f"broken pictures: {state.broken or 'none'}{where}")
    if rows := sorted(folder.pictures.glob("step_*.png")):
        lines.append(f"newest reconstructions: {rows[-1]}")
    if folder.report.exists():
        lines.append(f"report: {folder.report}")
    return [Text(printable(line)) for line in lines]
