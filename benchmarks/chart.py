"""Chart of all benchmarks: every ratio as a bar from 1.0, with its spread."""

from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

TICKS = (0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 3, 5, 10, 20, 50, 100)
PANELS = {
    False: "How many times as fast: their seconds over ours (right of 1, ours is better)",
    True: "What ours takes of theirs, memory or seconds (left of 1, ours is better)",
}


def draw(ratios, path):
    """Draw a panel for the ratios that should be large, and one for those that should be small."""
    groups = {at_most: [one for one in ratios if one.at_most == at_most] for at_most in PANELS}
    groups = {at_most: group for at_most, group in groups.items() if group}
    figure = Figure(figsize=(11, 1.5 + 0.27 * len(ratios)), layout="constrained")
    heights = [len(group) + 1 for group in groups.values()]
    axes = figure.subplots(len(groups), squeeze=False, height_ratios=heights)[:, 0]
    for ax, (at_most, group) in zip(axes, groups.items(), strict=True):
        _panel(ax, group, PANELS[at_most])
    figure.savefig(path, dpi=110)


def _panel(ax, ratios, title):
    for row, ratio in enumerate(ratios):
        better = ratio.median < 1 if ratio.at_most else ratio.median >= 1
        ax.barh(row, ratio.median - 1, left=1, height=0.6, color="tab:blue" if better else "tab:orange")
        if len(ratio.rounds) > 1:
            spread = min(ratio.rounds), max(ratio.rounds)
            ax.plot(spread, (row, row), color="black", linewidth=1.2, marker="|", markersize=6)
        if ratio.wanted is not None:
            ax.plot((ratio.wanted, ratio.wanted), (row - 0.4, row + 0.4), color="tab:red", linewidth=1.5)
    ax.set_yticks(range(len(ratios)), [f"{ratio.what}  |  {ratio.against}" for ratio in ratios], fontsize=8)
    ax.set_ylim(len(ratios) - 0.5, -0.5)
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(FixedLocator(TICKS))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.margins(x=0.03)
    ax.use_sticky_edges = False  # the bars' foot at 1 needs a margin too
    ax.axvline(1, color="black", linewidth=0.8)
    ax.grid(axis="x", alpha=0.3)
    ax.set_title(f"{title}\nblack: spread of the rounds; red: wanted", fontsize=9, loc="left")
