"""Charts as SVG.

Legend: K classes.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from beit.training.metrics import Line

_SIZE = (5.2, 3.0)  # inches
_MOST_NUMBERED_CLASSES = 20

Level = tuple[str, float]  # a name, and the value of a horizontal line


def curve_chart(lines: Sequence[Line], title: str, names: Sequence[str], level: Level | None = None) -> bytes:
    """Return metrics over steps; training as a line, validation as dots, a value to compare with as a dashed line."""
    chart = Figure(figsize=_SIZE, layout="constrained")
    axes = chart.subplots()
    for name in names:
        for split, style in (("train", "-"), ("val", "o--")):
            points = [(line["step"], line[name]) for line in lines if line["split"] == split and name in line]
            if points:
                axes.plot(*zip(*points, strict=True), style, label=f"{name}, {split}", linewidth=1.3, markersize=4)
    if level is not None:
        axes.axhline(level[1], color="grey", linestyle="--", linewidth=1, label=level[0])
    axes.set_title(title, fontsize=10)
    axes.set_xlabel("step")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
    if len(axes.lines) > 1:  # a single one is what the title says
        axes.legend(fontsize=8)
    return _svg(chart)


def confusion_chart(counts_KK: NDArray[np.int64], classes: Sequence[str]) -> bytes:
    """Return a confusion matrix; with few classes every cell shows its count."""
    side = min(9.0, 2.5 + 0.35 * len(classes))
    chart = Figure(figsize=(side, side), layout="constrained")
    axes = chart.subplots()
    share_KK = counts_KK / np.maximum(counts_KK.sum(axis=1, keepdims=True), 1)
    axes.imshow(share_KK, cmap="Blues", vmin=0, vmax=1)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    if len(classes) <= _MOST_NUMBERED_CLASSES:
        axes.set_xticks(range(len(classes)), classes, rotation=90)
        axes.set_yticks(range(len(classes)), classes)
        for (row, column), count in np.ndenumerate(counts_KK):
            if count:
                color = "white" if share_KK[row, column] > 0.5 else "black"
                axes.text(column, row, str(count), ha="center", va="center", color=color, fontsize=8)
    return _svg(chart)


def _svg(chart: Figure) -> bytes:
    buffer = io.BytesIO()
    chart.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()
