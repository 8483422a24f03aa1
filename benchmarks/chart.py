"""Chart of all comparisons: every ratio as a point, with its spread, in a colour for each kind of processor."""

from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

TICKS = (0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 3, 5, 10, 20, 50, 100)
PANELS = {
    False: "How many times as fast: their seconds over ours (right of 1, ours is better)",
    True: "What ours takes of theirs, memory or seconds (left of 1, ours is better)",
}


def draw(rows, path):
    """Draw a panel for the ratios that should be large, and one for those that should be small.

    Args:
        rows: Of `records.comparisons`.
        path: Of the picture.
    """
    kinds = sorted({kind for measured in rows.values() for kind in measured})
    colours = {kind: f"C{number}" for number, kind in enumerate(kinds)}
    groups = {at_most: [] for at_most in PANELS}
    for row in rows.items():
        groups[next(iter(row[1].values())).at_most].append(row)
    groups = {at_most: group for at_most, group in groups.items() if group}
    figure = Figure(figsize=(11, 2.0 + 0.27 * len(rows)), layout="constrained")
    heights = [len(group) + 1 for group in groups.values()]
    panels = figure.subplots(len(groups), squeeze=False, height_ratios=heights)[:, 0]
    for ax, (at_most, group) in zip(panels, groups.items(), strict=True):
        _panel(ax, group, colours, PANELS[at_most])
    points = [panels[0].plot([], [], "o", color=colour)[0] for colour in colours.values()]
    figure.legend(points, kinds, loc="outside upper left", ncols=len(kinds), fontsize=8)
    figure.savefig(path, dpi=110)


def _panel(ax, rows, colours, title):
    for row, (_, measured) in enumerate(rows):
        for number, (kind, colour) in enumerate(colours.items()):
            if kind in measured:
                _point(ax, row + 0.5 * ((number + 0.5) / len(colours) - 0.5), measured[kind], colour)
        wanted = next(iter(measured.values())).wanted
        if wanted is not None:
            ax.plot((wanted, wanted), (row - 0.4, row + 0.4), color="tab:red", linewidth=1.5)
    ax.set_yticks(range(len(rows)), [f"{what}  |  {against}" for (what, against), _ in rows], fontsize=8)
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(FixedLocator(TICKS))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.margins(x=0.03)
    ax.axvline(1, color="black", linewidth=0.8)
    ax.grid(alpha=0.3)
    ax.set_title(f"{title}\nlines: spread of the rounds; red: wanted", fontsize=9, loc="left")


def _point(ax, height, ratio, colour):
    ax.plot((min(ratio.rounds), max(ratio.rounds)), (height, height), color=colour, linewidth=1.2)
    ax.plot(ratio.median, height, "o", color=colour, markersize=4)
