"""Draw the pictures of docs/architecture.md beside this file: `python docs/pictures/architecture.py`.

`rooms.png` is made of the contract in pyproject.toml that holds the directions of imports, so it shows what is checked.
"""

from __future__ import annotations

import tomllib
from pathlib import Path

import matplotlib as mpl
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch

HERE = Path(__file__).parent
INK, FAINT = "#24292f", "#8b949e"
NEITHER, TORCH, JAX, BOTH = "#e6edf3", "#ffe0cc", "#d3efd8", "#f3e6c4"
# What may be imported where, as the other contracts have it; every other room computes in torch.
FRAMEWORK = {"models_flax": JAX, "engine": BOTH, "tasks": BOTH}
LEGEND = {"neither torch nor jax": NEITHER, "torch": TORCH, "jax": JAX, "torch, and jax where asked for": BOTH}

# The way of a picture through a step of pre-training: column, row, title, what is there, and the file.
STEPS = {
    "file": (1, 0, "a picture", "a file, a row of a shard", "data/sources/source.py"),
    "views": (1, 1, "two views of one random crop", "drawn from (seed, epoch, index)", "data/transforms/views.py"),
    "patches": (0, 2, "patches", "224 x 224 pixels: 196 vectors", "models_torch/embeddings.py"),
    "mask": (0, 3, "masked patches", "up to 75 become the mask token", "geometry/masks.py"),
    "encoder": (0, 4, "encoder", "12 layers, positions as a bias", "models_torch/encoder.py"),
    "head": (0, 5, "scores", "8,192 for every masked patch", "models_torch/masked_image_modeling.py"),
    "small": (2, 2, "the same crop, smaller", "112 x 112 pixels", "tokenizer/encoding.py"),
    "tokens": (2, 4, "visual tokens", "14 x 14 numbers below 8,192", "tokenizer/dvae.py"),
    "loss": (1, 6, "loss", "cross-entropy of the masked patches", "tasks/pretrain/loss.py"),
    "step": (1, 7, "a step of AdamW", "then metrics, checkpoint, gallery", "engine/loop.py"),
}
ARROWS = (
    ("file", "views"), ("views", "patches"), ("views", "small"), ("patches", "mask"), ("mask", "encoder"),
    ("encoder", "head"), ("small", "tokens"), ("head", "loss"), ("tokens", "loss"), ("loss", "step"),
)  # fmt: skip


def main() -> None:
    """Draw both."""
    mpl.use("agg")
    mpl.rcParams.update({"font.size": 9, "figure.facecolor": "white", "text.color": INK})
    contracts = tomllib.loads((HERE.parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    by_id = {contract["id"]: contract for contract in contracts["contracts"]}
    frameless = [name.removeprefix("beit.") for name in by_id["no-framework"]["source_modules"]]
    draw_rooms([layer.replace(":", "|").split("|") for layer in by_id["layers"]["layers"]], frameless)
    draw_way()


def draw_rooms(layers: list[list[str]], frameless: list[str]) -> None:
    """Draw a row of boxes per layer; imports go down only."""
    figure, axes = canvas(8.4, 0.62 * len(layers) + 0.9)
    for row, layer in enumerate(layers):
        rooms = [name.strip() for name in layer]
        width = 8.0 / len(rooms)
        for column, room in enumerate(rooms):
            colour = NEITHER if room in frameless else FRAMEWORK.get(room, TORCH)
            box(axes, 0.2 + column * width, -0.62 * row, width - 0.15, 0.45, colour)
            axes.text(0.2 + (column + 0.5) * width - 0.075, -0.62 * row + 0.225, room, ha="center", va="center")
    bottom = -0.62 * (len(layers) - 1)
    axes.annotate("", (0.02, bottom), (0.02, 0.45), arrowprops={"arrowstyle": "->", "color": FAINT})
    for place, (name, colour) in enumerate(LEGEND.items()):
        left = 0.2 + 1.9 * place
        box(axes, left, bottom - 0.5, 0.22, 0.16, colour)
        axes.text(left + 0.32, bottom - 0.42, name, va="center", fontsize=7.5)
    axes.set(xlim=(-0.1, 8.3), ylim=(bottom - 0.65, 0.55))
    save(figure, "rooms")


def draw_way() -> None:
    """Draw the steps of a picture's way and the arrows between them."""
    figure, axes = canvas(9.0, 6.4)
    for column, row, title, detail, file in STEPS.values():
        left, bottom = 3.1 * column, -1.0 * row
        box(axes, left, bottom, 2.8, 0.72, NEITHER)
        axes.text(left + 1.4, bottom + 0.54, title, ha="center", va="center", weight="bold")
        axes.text(left + 1.4, bottom + 0.34, detail, ha="center", va="center", fontsize=8)
        axes.text(left + 1.4, bottom + 0.13, file, ha="center", va="center", fontsize=7, family="monospace")
    for start, end in ARROWS:
        (first, top, *_), (second, bottom, *_) = STEPS[start], STEPS[end]
        tail, head = (3.1 * first + 1.4, -1.0 * top), (3.1 * second + 1.4, -1.0 * bottom + 0.72)
        axes.annotate("", head, tail, arrowprops={"arrowstyle": "->", "color": INK, "shrinkA": 1, "shrinkB": 1})
    axes.set(xlim=(-0.1, 9.1), ylim=(-7.1, 0.82))
    save(figure, "way")


def canvas(width: float, height: float) -> tuple[plt.Figure, Axes]:
    """Return a figure without frame or scales, inches wide and high."""
    figure, axes = plt.subplots(figsize=(width, height), constrained_layout=True)
    axes.axis("off")
    return figure, axes


def box(axes: Axes, left: float, bottom: float, width: float, height: float, colour: str) -> None:
    """Draw a box with round corners."""
    shape = "round,pad=0,rounding_size=0.06"
    axes.add_patch(FancyBboxPatch((left, bottom), width, height, shape, facecolor=colour, edgecolor=FAINT))


def save(figure: plt.Figure, name: str) -> None:
    """Write a figure as PNG, the same bytes for the same figure."""
    figure.savefig(HERE / f"{name}.png", dpi=120, metadata={"Software": None})
    plt.close(figure)


if __name__ == "__main__":
    main()
