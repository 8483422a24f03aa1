"""Charts as SVG.

Legend: K classes, P pictures.
"""

from __future__ import annotations

import functools
import io
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ParamSpec, Protocol

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy.typing import NDArray

from beit.errors import printable
from beit.reports.units import in_words

_SIZE = (5.2, 3.0)  # inches
# Margins of curves, as shares: a chart that finds them by itself takes twice as long to draw.
_MARGINS = {"left": 0.15, "right": 0.94, "bottom": 0.17, "top": 0.89}
_RELIABILITY_SIZE = (4.6, 4.4)
_LARGEST_MATRIX = 11.0
_MOST_DRAWN_DOTS = 2000  # more become pixels, or the page would have a line for each
MOST_NUMBERED_CLASSES = 20
_MOST_NAMED_CLASSES = 120
_LONGEST_NAME = 24
_PERCENT = PercentFormatter(1.0, symbol=" %")  # of shares in [0, 1]

Line = Mapping[str, Any]  # of a metrics file: step, split and numbers
_P = ParamSpec("_P")
Level = tuple[str, float]  # a name, and the value of a horizontal line


class Bin(Protocol):
    """Pictures of about the same confidence, for a reliability chart."""

    @property
    def low(self) -> float:
        """Lower bound of the confidence."""
        ...

    @property
    def high(self) -> float:
        """Upper bound of the confidence."""
        ...

    @property
    def pictures(self) -> int:
        """Number of pictures."""
        ...

    @property
    def accuracy(self) -> float:
        """Share that is right."""
        ...

    @property
    def confidence(self) -> float:
        """Mean confidence."""
        ...


def _as_svg(draw: Callable[_P, Figure]) -> Callable[_P, bytes]:
    """Make a function that draws a chart return it as SVG, in which text is text, no formula and no document of TeX.

    The letters are drawn by whoever shows the chart, whose fonts have more of them than the one that comes with
    matplotlib, which measures them and warns of those that it lacks.
    """

    @functools.wraps(draw)
    def drawn(*args: _P.args, **kwargs: _P.kwargs) -> bytes:
        as_text = rc_context({"svg.fonttype": "none", "text.parse_math": False, "text.usetex": False})
        with as_text, warnings.catch_warnings():  # texts keep how they are read from the moment when they are made
            warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)
            buffer = io.BytesIO()
            draw(*args, **kwargs).savefig(buffer, format="svg", metadata={"Date": None})
        return buffer.getvalue()

    return drawn


def has_curve(lines: Sequence[Line], names: Sequence[str]) -> bool:
    """Return whether one of some metrics was measured twice, in training or on held-out pictures."""
    points = Counter((name, line.get("split")) for line in lines for name in names if name in line)
    return max(points.values(), default=0) > 1


@_as_svg
def curve_chart(
    lines: Sequence[Line], title: str, names: Sequence[str], levels: Sequence[Level] = (), percent: bool = False
) -> Figure:
    """Return metrics over steps; training as a line, validation as dots, values to compare with as dashed lines.

    Args:
        lines: Of the metrics.
        title: Of the chart.
        names: The metrics to draw.
        levels: Values to compare with.
        percent: Whether they are shares, which are shown in percent.
    """
    chart, axes = _one_chart()
    drawn = {name for name in names if any(name in line for line in lines)}
    for name in names:
        for split, whose, style in (("train", "training", "-"), ("val", "held out", "o--")):
            if split == "val" and f"held_out_{name}" in drawn:  # the same, measured again and again
                continue
            points = [(line["step"], line[name]) for line in lines if line["split"] == split and name in line]
            if points:
                label = in_words(name) if name.startswith("held_out") else f"{in_words(name)}, {whose}"
                style = style if len(points) > 1 else "o"  # of one point there is no line
                axes.plot(*zip(*points, strict=True), style, label=label, linewidth=1.3, markersize=4)
    if not any(line.get(name) for line in lines for name in names):  # nothing but zeros, below which there is nothing
        axes.set_ylim(0, 1)
    _describe(axes, title, "step", levels, percent)
    if len(axes.lines) > 1:  # a single one is what the title says
        axes.legend(fontsize=8)
    return chart


@_as_svg
def layer_chart(curves: Mapping[str, Sequence[float]], title: str, levels: Sequence[Level] = ()) -> Figure:
    """Return a share of every layer, from 1, as a curve per model; values to compare with as dashed lines."""
    chart, axes = _one_chart()
    for name, values in curves.items():
        axes.plot(range(1, len(values) + 1), values, "o-", label=_short(name), linewidth=1.3, markersize=4)
    _describe(axes, title, "layer", levels, percent=True)
    axes.legend(fontsize=8)
    return chart


def _one_chart() -> tuple[Figure, Axes]:
    chart = Figure(figsize=_SIZE)
    return chart, chart.subplots(gridspec_kw=_MARGINS)


def _describe(axes: Axes, title: str, over: str, levels: Sequence[Level], percent: bool) -> None:
    """Add what the curves are compared with, and the words around them."""
    for (words, value), style in zip(levels, ("--", ":"), strict=False):
        axes.axhline(value, color="grey", linestyle=style, linewidth=1, label=words)
    axes.set_title(title, fontsize=10)
    axes.set_xlabel(over)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if percent:
        axes.yaxis.set_major_formatter(_PERCENT)
    axes.grid(alpha=0.3)


@_as_svg
def confusion_chart(counts_KK: NDArray[np.int64], classes: Sequence[str]) -> Figure:
    """Return a confusion matrix: counts in the cells of a few classes, names beside them while these can be read."""
    side = min(_LARGEST_MATRIX, 2.5 + 0.35 * len(classes))
    chart = Figure(figsize=(side, side), layout="constrained")
    axes = chart.subplots()
    share_KK = counts_KK / np.maximum(counts_KK.sum(axis=1, keepdims=True), 1)
    # the root brings out rare mistakes, which are what one looks for among many classes
    axes.imshow(share_KK**0.5, cmap="Blues", vmin=0, vmax=1)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    if len(classes) <= _MOST_NAMED_CLASSES:
        size = 9 if len(classes) <= MOST_NUMBERED_CLASSES else 5.5
        names = [_short(name) for name in classes]
        axes.set_xticks(range(len(classes)), names, rotation=90, fontsize=size)
        axes.set_yticks(range(len(classes)), names, fontsize=size)
    if len(classes) <= MOST_NUMBERED_CLASSES:
        for (row, column), count in np.ndenumerate(counts_KK):
            if count:
                color = "white" if share_KK[row, column] > 0.3 else "black"
                axes.text(column, row, str(count), ha="center", va="center", color=color, fontsize=8)
    return chart


@_as_svg
def reliability_chart(bins: Sequence[Bin]) -> Figure:
    """Return accuracy over confidence, and below it how many pictures are how sure."""
    chart = Figure(figsize=_RELIABILITY_SIZE, layout="constrained")
    above, below = chart.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    left, width = [each.low for each in bins], [each.high - each.low for each in bins]
    above.bar(left, [each.accuracy for each in bins], width, align="edge", color="#7aa6d6", edgecolor="white")
    above.plot(
        [each.confidence for each in bins],
        [each.accuracy for each in bins],
        "o",
        color="#1f4e87",
        markersize=4,
        clip_on=False,
        zorder=3,
    )
    above.plot([0, 1], [0, 1], "--", color="grey", linewidth=1)
    above.set_xlim(0, 1)
    above.set_ylim(0, 1)
    above.set_ylabel("accuracy")
    above.yaxis.set_major_formatter(_PERCENT)
    above.grid(alpha=0.3)
    below.bar(left, [each.pictures for each in bins], width, align="edge", color="#b9c3d3", edgecolor="white")
    below.set_ylabel("pictures")
    below.set_xlabel("confidence (dots: its mean in the bin)")
    below.xaxis.set_major_formatter(_PERCENT)
    below.yaxis.set_major_locator(MaxNLocator(nbins=3, integer=True))
    return chart


@_as_svg
def scatter_chart(true_P: NDArray[np.float32], said_P: NDArray[np.float32], name: str) -> Figure:
    """Return predicted over true values, a dot per picture."""
    chart = Figure(figsize=_RELIABILITY_SIZE, layout="constrained")
    axes = chart.subplots()
    many = len(true_P) > _MOST_DRAWN_DOTS
    axes.scatter(true_P, said_P, s=9, color="#1f4e87", alpha=0.15 if many else 0.5, linewidths=0, rasterized=many)
    axes.axline((float(true_P[0]), float(true_P[0])), slope=1, linestyle="--", color="grey", linewidth=1)
    axes.set_title(_short(name), fontsize=10)
    axes.set_xlabel("true")
    axes.set_ylabel("predicted")
    axes.grid(alpha=0.3)
    return chart


def _short(name: str) -> str:
    """Return a name for an axis or a legend, which would leave out one that begins with an underscore."""
    name = printable(name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1] + "…")
    return f" {name}" if name.startswith("_") else name
