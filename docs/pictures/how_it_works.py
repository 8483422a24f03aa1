"""Draw the pictures of docs/how_it_works.md, `how_*.png` beside this file.

    python docs/pictures/how_it_works.py [RUN [TOKENIZER]]

RUN is the folder of a finished run of recipes/pretrain_cifar10_tiny.yaml (`python benchmarks/pretrain_cifar10.py` makes
it), TOKENIZER its tokenizer. The photograph is `flower.jpg` of scikit-learn (CC BY 2.0, flickr.com/photos/vultilion).
Nothing is drawn at random that a seed does not fix.

Legend: B batch, N = h x w patches, V codebook size, H heads.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from functools import cached_property
from math import log
from pathlib import Path

import matplotlib as mpl
import numpy as np
import torch
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_sample_image
from torch import Tensor

from beit import BeitForMaskedImageModeling, Predictor, load_tokenizer
from beit.data import Views
from beit.geometry import Grid, block_masks, random_masks
from beit.image import LoadedPicture

HERE = Path(__file__).parent
RUN = HERE.parents[1] / "runs" / "pretrain_cifar10_tiny"
PAPER = Grid(14, 14)  # of the masks that are drawn without a model
SEED = 5  # of the mask that the model is shown
SHOWN = 10  # pixels on the page for one of the crop
INK, RED = "#24292f", "#c2410c"

Pixels = NDArray[np.float32]
Bools = NDArray[np.bool_]


@dataclass
class Scene:
    """The photograph, and the models that look at it."""

    run: Path
    tokenizer_folder: Path

    def __post_init__(self) -> None:
        """Load everything that is used more than once."""
        self.photograph = Image.fromarray(load_sample_image("flower.jpg"))
        self.tokenizer = load_tokenizer(self.tokenizer_folder)
        self.model = BeitForMaskedImageModeling.from_pretrained(self.run / "model")
        self.predictor = Predictor.from_pretrained(self.run / "model", device="cpu", tokenizer=self.tokenizer)
        height, width = self.model.config.image_hw
        self.patch = self.model.config.patch_hw[0]
        self.grid = Grid(height // self.patch, width // self.patch)
        self.crop = np.asarray(self.predictor.preprocessing.crop(self.photograph))

    @cached_property
    def views(self) -> tuple[Tensor, Tensor]:
        """What the model and what the tokenizer is given, (1, 3, height, width) each."""
        stride = self.tokenizer.stride
        views = Views(self.predictor.preprocessing, None, (self.grid.height * stride, self.grid.width * stride))
        seen = views(LoadedPicture(self.photograph), np.random.default_rng(0))  # nothing in this view is random
        return torch.from_numpy(seen["pixel_values"])[None], torch.from_numpy(seen["tokenizer_pixels"])[None]


def main(run: Path = RUN, tokenizer: Path | None = None) -> None:
    """Draw everything."""
    mpl.use("agg")
    mpl.rcParams.update({"font.size": 9, "axes.titlesize": 9, "figure.facecolor": "white", "text.color": INK})
    scene = Scene(run, tokenizer or run / "tokenizer" / "model")
    with torch.inference_mode():
        draw_views(scene)
        draw_masks()
        draw_prediction(scene)
        draw_loss(scene)
        draw_bias(scene)
        draw_attention(scene)


def draw_views(scene: Scene) -> None:
    """One crop, cut into patches for the model and turned into tokens by the tokenizer."""
    tokens = scene.tokenizer.encode(scene.views[1])
    painted = scene.tokenizer.decode(tokens)
    height, width, _ = scene.crop.shape
    grid, codes = f"{scene.grid.height} x {scene.grid.width}", scene.tokenizer.vocab_size
    figure, axes = plt.subplots(1, 4, figsize=(10, 2.9), constrained_layout=True)
    show(axes[0], scene.crop, f"the crop, {height} x {width} pixels")
    show(axes[1], apart(scene), f"{grid} patches:\nwhat the model is given")
    draw_tokens(axes[2], tokens[0].numpy(), codes)
    axes[2].set_title(f"{grid} visual tokens of {codes}:\nwhat it has to predict")
    show(axes[3], channels_last(painted), "what the tokenizer's decoder\npaints from these numbers alone")
    save(figure, "how_views")


def draw_tokens(axes: Axes, tokens_hw: NDArray[np.int64], codes: int) -> None:
    """Write the numbers of the tokens into a grid; equal numbers have the same colour."""
    shades = np.random.default_rng(0).permutation(codes) / codes
    axes.imshow(shades[tokens_hw], cmap="Pastel1", interpolation="nearest")
    for row, col in np.ndindex(*tokens_hw.shape):
        axes.text(col, row, str(tokens_hw[row, col]), ha="center", va="center", fontsize=7)
    axes.axis("off")


def draw_masks() -> None:
    """Block-wise masks above masks of single patches, on the grid of the paper."""
    rngs = [np.random.default_rng(seed) for seed in range(6)]
    rows = {"blocks": block_masks(PAPER, 75, rngs), "single\npatches": random_masks(PAPER, 75, rngs)}
    figure, axes = plt.subplots(2, 6, figsize=(8, 2.9), constrained_layout=True)
    for line, (name, masks_Bhw) in zip(axes, rows.items(), strict=True):
        line[0].text(-2.5, 6.5, name, ha="right", va="center")
        for place, mask_hw in zip(line, masks_Bhw, strict=True):
            place.imshow(~mask_hw, cmap="gray", vmin=-1, vmax=1.2)
            place.set_title(f"{mask_hw.sum()} hidden", fontsize=7)
            place.set(xticks=[], yticks=[])
    save(figure, "how_masks")


def draw_prediction(scene: Scene) -> None:
    """What the model sees, what it predicts, and what that costs, patch by patch."""
    mask_hw = block_masks(scene.grid, 25, np.random.default_rng(SEED), min_block=6)[0]  # as in the recipe
    answer = scene.predictor.reconstruct(scene.photograph, mask=mask_hw)[0]
    truth = scene.predictor.reconstruct(scene.photograph, mask=np.zeros_like(mask_hw))[0]
    loss_hw = patch_losses(scene, mask_hw)
    mean, uniform = loss_hw[mask_hw].mean(), log(scene.tokenizer.vocab_size)
    figure, axes = plt.subplots(1, 5, figsize=(12, 2.9), constrained_layout=True, width_ratios=[1, 1, 1, 1, 1.1])
    show(axes[0], np.asarray(answer.picture), "the picture")
    show(axes[1], np.asarray(answer.masked), f"what the model sees:\n{mask_hw.sum()} patches are the mask token")
    show(axes[2], np.asarray(answer.reconstruction), "its likeliest token for every\nhidden patch, painted")
    show(axes[3], np.asarray(truth.reconstruction), "the true tokens, painted")
    drawn = axes[4].imshow(np.ma.masked_array(loss_hw, ~mask_hw), cmap="magma_r", vmin=0)
    axes[4].set(xticks=[], yticks=[])
    axes[4].set_title(f"-log p(true token), mean {mean:.2f} nats\n(all tokens alike: {uniform:.2f})")
    figure.colorbar(drawn, ax=axes[4], shrink=0.8)
    save(figure, "how_prediction")


def patch_losses(scene: Scene, mask_hw: Bools) -> Pixels:
    """Return -log p(true token) of every patch (h, w) under a mask."""
    pixels, small = scene.views
    tokens_N = scene.tokenizer.encode(small).flatten()
    logits_NV = scene.model(pixels, torch.from_numpy(mask_hw).reshape(1, -1)).logits[0]
    return torch.nn.functional.cross_entropy(logits_NV, tokens_N, reduction="none").view(*scene.grid).numpy()


def draw_loss(scene: Scene) -> None:
    """The loss over the steps of the pre-training, and what knowing nothing would give."""
    lines = [json.loads(line) for line in (scene.run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    train = [line for line in lines if line["split"] == "train"]
    result = json.loads((scene.run / "result.json").read_text(encoding="utf-8"))
    figure, axes = plt.subplots(figsize=(5.5, 2.8), constrained_layout=True)
    axes.plot([line["step"] for line in train], [line["loss"] for line in train], color=RED, linewidth=1)
    axes.plot(train[-1]["step"], result["loss"], "o", color=INK, label=f"held-out pictures: {result['loss']:.2f}")
    uniform, frequency = log(scene.tokenizer.vocab_size), result["frequency_loss"]
    axes.axhline(uniform, color=INK, linestyle=":", label=f"all tokens alike: {uniform:.2f}")
    axes.axhline(frequency, color=INK, linestyle="--", label=f"their frequencies: {frequency:.2f}")
    axes.set(xlabel="step", ylabel="loss, nats per hidden patch")
    axes.legend(frameon=False, fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    save(figure, "how_loss")


def draw_bias(scene: Scene) -> None:
    """The learned bias of every head, by the offset between two patches."""
    # offsets and three for [CLS], heads
    table = scene.model.state_dict()["beit.encoder.relative_position_bias.relative_position_bias_table"]
    height, width = scene.grid
    maps_Hyx = table[:-3].T.reshape(-1, 2 * height - 1, 2 * width - 1).numpy()
    most = float(np.abs(maps_Hyx).max())
    figure, axes = plt.subplots(1, len(maps_Hyx), figsize=(8, 2.6), constrained_layout=True)
    span = (-width + 0.5, width - 0.5, height - 0.5, -height + 0.5)
    for head, (place, map_yx) in enumerate(zip(axes, maps_Hyx, strict=True)):
        drawn = place.imshow(map_yx[::-1, ::-1], cmap="RdBu_r", vmin=-most, vmax=most, extent=span)
        place.set(title=f"head {head}", xlabel="columns to the right", xticks=(-5, 0, 5), yticks=(-5, 0, 5))
        place.label_outer()
    axes[0].set_ylabel("rows below")
    figure.colorbar(drawn, ax=axes, shrink=0.8, label="added before the softmax")
    save(figure, "how_bias")


def draw_attention(scene: Scene) -> None:
    """Where one patch looks, from early to late layers."""
    row, col = scene.grid.height // 2, scene.grid.width // 2
    figure, axes = plt.subplots(1, 5, figsize=(11, 2.6), constrained_layout=True)
    show(axes[0], scene.crop, "the patch that looks")
    for place, layer in zip(axes[1:], (0, 3, 7, 11), strict=True):
        attention = scene.predictor.attend(scene.photograph, layer=layer, patch=(row, col))[0]
        show(place, np.asarray(attention.overlay()), f"layer {layer + 1}, mean of its heads")
    for place in axes:
        corner = (col * scene.patch - 0.5, row * scene.patch - 0.5)
        place.add_patch(plt.Rectangle(corner, scene.patch, scene.patch, fill=False, edgecolor="white", linewidth=1.5))
    save(figure, "how_attention")


def apart(scene: Scene) -> NDArray[np.uint8]:
    """Return the crop enlarged, with white gaps between its patches."""
    large = scene.crop.repeat(SHOWN, axis=0).repeat(SHOWN, axis=1)
    side = scene.patch * SHOWN
    gap = side // 4
    sheet = np.full((*((side + gap) * count - gap for count in scene.grid), 3), 255, np.uint8)
    for row, col in np.ndindex(*scene.grid):
        patch = large[row * side : (row + 1) * side, col * side : (col + 1) * side]
        sheet[row * (side + gap) :, col * (side + gap) :][:side, :side] = patch
    return sheet


def channels_last(pixels_1CHW: Tensor) -> Pixels:
    """Return one picture as matplotlib wants it."""
    return pixels_1CHW[0].clamp(0, 1).permute(1, 2, 0).numpy()


def show(axes: Axes, picture: NDArray[np.generic], title: str) -> None:
    """Show a picture without a frame."""
    axes.imshow(picture)
    axes.set_title(title)
    axes.axis("off")


def save(figure: plt.Figure, name: str) -> None:
    """Write a figure as PNG, the same bytes for the same figure."""
    figure.savefig(HERE / f"{name}.png", dpi=120, bbox_inches="tight", metadata={"Software": None})
    plt.close(figure)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
