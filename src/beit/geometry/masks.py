"""Masks of the patch grid, many at once: block-wise (arXiv 2106.08254, algorithm 1), and of single patches.

A block-wise mask is made of rectangles. Each new block draws an area and an aspect ratio, gets ten attempts to add at
least one and at most the still allowed number of masked patches, and the mask is finished when it is full or when a
block found no place. As in the original implementation a mask therefore holds at most `count` patches, not always
exactly.

Legend: B masks, A still growing masks, h x w patches, N = h * w.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from beit.errors import ConfigError
from beit.geometry.grid import Grid

ATTEMPTS_PER_BLOCK = 10
ATTEMPTS_FOR_THE_FIRST = 1000  # a mask without any block would leave no patch to predict
_STEPS_PER_DRAW = 32  # attempts whose random numbers are drawn at once

MaskKind = Literal["block", "random"]
Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class MaskPlan:
    """Kind and size of masks: see `block_masks`, and `random_masks` for the kind "random".

    Attributes:
        grid: The patch grid.
        count: Most masked patches; all masks of the kind "random", and those that are `exact`, have as many.
        min_block: Smallest block, in patches.
        min_aspect: Smallest height over width of a block.
        exact: Whether blocks are filled up to `count`.
        kind: Blocks, or single patches.

    Raises:
        ConfigError: If there is no such kind.
    """

    grid: Grid
    count: int
    min_block: int
    min_aspect: float = 0.3
    exact: bool = False
    kind: MaskKind = "block"

    def __post_init__(self) -> None:
        """Check the kind."""
        if self.kind not in get_args(MaskKind):
            raise ConfigError(f"the kind of masks is {self.kind!r}; expected one of {list(get_args(MaskKind))}")

    def draw(self, rngs: Sequence[np.random.Generator]) -> Bools:
        """Return a mask for each generator, (B, height, width); True = masked.

        Raises:
            ConfigError: If the grid has no room for such masks.
        """
        if self.kind == "random":
            return random_masks(self.grid, self.count, rngs)
        return block_masks(
            self.grid, self.count, rngs, min_block=self.min_block, min_aspect=self.min_aspect, exact=self.exact
        )


PAPER_MASKS = MaskPlan(Grid(14, 14), count=75, min_block=16)  # section 2.3: 40 % of the patches


def block_masks(
    grid: Grid,
    count: int,
    rng: np.random.Generator | Sequence[np.random.Generator],
    *,
    batch: int = 1,
    min_block: int = 16,
    min_aspect: float = 0.3,
    exact: bool = False,
) -> Bools:
    """Return masks (B, height, width); True = masked, hidden from the model.

    Args:
        grid: The patch grid.
        count: Masked patches per mask: at most this many, or exactly with `exact`.
        rng: One generator for the whole batch, or one per mask. With one per mask, a mask depends on its own generator
            alone, whatever else is in the batch.
        batch: Number of masks B when `rng` is a single generator.
        min_block: Smallest area of a block, in patches. Blocks smaller than this occur only to fill the rest.
        min_aspect: Block height over width is log-uniform in [min_aspect, 1 / min_aspect], 0 < min_aspect <= 1.
        exact: Mask (or unmask) random single patches until every mask holds exactly `count`, as BEiT v2 does.

    Raises:
        ConfigError: If `count` is not in [min_block, patches], `min_block` or `min_aspect` are out of range, or no
            block fits: a mask is never empty.

    Source: `MaskingGenerator` of the original implementation, whose distribution this reproduces.
    """
    _check(grid, count, min_block, min_aspect)
    draws = _Draws(rng, batch)
    mask_Bhw = np.zeros((draws.batch, grid.height, grid.width), dtype=bool)
    attempts_B = np.zeros(draws.batch, dtype=np.int64)
    growing_A = np.arange(draws.batch)
    while growing_A.size:
        mask_Ahw = mask_Bhw[growing_A]
        allowed_A = count - mask_Ahw.sum(axis=(1, 2))
        block_Ahw, fits_A = _candidate_blocks(grid, allowed_A, draws.next(growing_A), min_block, min_aspect)
        new_A = (block_Ahw & ~mask_Ahw).sum(axis=(1, 2))
        placed_A = fits_A & (new_A > 0) & (new_A <= allowed_A)
        mask_Bhw[growing_A[placed_A]] |= block_Ahw[placed_A]
        attempts_B[growing_A] = np.where(placed_A, 0, attempts_B[growing_A] + 1)
        full_A = placed_A & (new_A == allowed_A)
        empty_A = ~mask_Bhw[growing_A].any(axis=(1, 2))
        allowed_attempts_A = np.where(empty_A, ATTEMPTS_FOR_THE_FIRST, ATTEMPTS_PER_BLOCK)
        growing_A = growing_A[~full_A & (attempts_B[growing_A] < allowed_attempts_A)]
    if draws.batch and not mask_Bhw.any(axis=(1, 2)).all():
        raise ConfigError(
            f"no block of at least {min_block} patches fits into a grid of {grid.height} x {grid.width}; "
            "lower the smallest block"
        )
    return _make_exact(mask_Bhw, count, draws) if exact else mask_Bhw


def _check(grid: Grid, count: int, min_block: int, min_aspect: float) -> None:
    if not 1 <= min_block <= grid.patches:
        raise ConfigError(f"the smallest block is {min_block} patches; expected 1 to {grid.patches} on a {grid} grid")
    if not min_block <= count <= grid.patches:
        raise ConfigError(
            f"{count} masked patches with blocks of at least {min_block} on a grid of {grid.patches} patches; "
            f"expected {min_block} to {grid.patches}: change the number of masked patches or the smallest block"
        )
    if not 0 < min_aspect <= 1:
        raise ConfigError(f"the smallest block aspect ratio is {min_aspect}; expected a number above 0, up to 1")


def _candidate_blocks(
    grid: Grid, allowed_A: NDArray[np.int64], uniform_A4: Floats, min_block: int, min_aspect: float
) -> tuple[Bools, Bools]:
    """Return one random rectangle per mask, (A, h, w), and whether it lies strictly inside the grid's sides."""
    area_A = min_block + uniform_A4[:, 0] * (allowed_A - min_block)
    aspect_A = np.exp((2 * uniform_A4[:, 1] - 1) * log(1 / min_aspect))
    height_A = np.rint(np.sqrt(area_A * aspect_A)).astype(np.int64)
    width_A = np.rint(np.sqrt(area_A / aspect_A)).astype(np.int64)
    fits_A = (height_A < grid.height) & (width_A < grid.width)
    top_A = np.floor(uniform_A4[:, 2] * (grid.height - height_A + 1)).astype(np.int64)
    left_A = np.floor(uniform_A4[:, 3] * (grid.width - width_A + 1)).astype(np.int64)
    rows_Ah = _intervals(grid.height, top_A, height_A)
    columns_Aw = _intervals(grid.width, left_A, width_A)
    return rows_Ah[:, :, None] & columns_Aw[:, None, :], fits_A


def _intervals(length: int, start_A: NDArray[np.int64], size_A: NDArray[np.int64]) -> Bools:
    """Return (A, length): True where start <= position < start + size."""
    position = np.arange(length)
    return (position >= start_A[:, None]) & (position < (start_A + size_A)[:, None])


def _make_exact(mask_Bhw: Bools, count: int, draws: _Draws) -> Bools:
    """Mask random further patches until every mask holds `count`."""
    flat_BN = mask_Bhw.reshape(len(mask_Bhw), -1)
    order_BN = draws.uniform(flat_BN.shape[1])
    order_BN[flat_BN] = -1.0  # patches that are masked already come first and stay
    chosen_BN = np.argsort(order_BN, axis=1)[:, :count]
    exact_BN = np.zeros_like(flat_BN)
    np.put_along_axis(exact_BN, chosen_BN, True, axis=1)
    return exact_BN.reshape(mask_Bhw.shape)


class _Draws:
    """Uniform numbers for every mask, from one shared generator or from one generator per mask."""

    def __init__(self, rng: np.random.Generator | Sequence[np.random.Generator], batch: int) -> None:
        self._rng = rng
        self.batch = batch if isinstance(rng, np.random.Generator) else len(rng)
        self._step = _STEPS_PER_DRAW
        self._chunk = np.empty((0, 0, 4))

    def uniform(self, columns: int) -> Floats:
        """Return fresh numbers in [0, 1), (B, columns)."""
        if isinstance(self._rng, np.random.Generator):
            return self._rng.random((self.batch, columns))
        return np.stack([rng.random(columns) for rng in self._rng])

    def next(self, growing_A: NDArray[np.int64]) -> Floats:
        """Return the four numbers of the next attempt for the masks that still grow, (A, 4)."""
        if self._step == _STEPS_PER_DRAW:
            self._chunk = self._attempts(growing_A).reshape(self.batch, _STEPS_PER_DRAW, 4)
            self._step = 0
        self._step += 1
        return self._chunk[growing_A, self._step - 1]

    def _attempts(self, growing_A: NDArray[np.int64]) -> Floats:
        """Return fresh numbers for some attempts.

        Generators of masks that are done give none: what comes out of them later must not depend on other masks.
        """
        if isinstance(self._rng, np.random.Generator):
            return self.uniform(4 * _STEPS_PER_DRAW)
        drawn = np.zeros((self.batch, 4 * _STEPS_PER_DRAW))
        for mask in growing_A.tolist():
            drawn[mask] = self._rng[mask].random(4 * _STEPS_PER_DRAW)
        return drawn


def random_masks(grid: Grid, count: int, rngs: Sequence[np.random.Generator]) -> Bools:
    """Return masks (B, height, width) of exactly `count` patches each; True = masked, hidden from the model.

    Args:
        grid: The patch grid.
        count: Masked patches per mask.
        rngs: One generator per mask.

    Raises:
        ConfigError: If `count` is not in [1, patches].

    Source: the ablation "without blockwise masking" of arXiv 2106.08254, section 3.3.
    """
    if not 1 <= count <= grid.patches:
        raise ConfigError(f"{count} masked patches; expected 1 to {grid.patches}, the patches of a {grid} grid")
    order_BN = np.stack([rng.random(grid.patches) for rng in rngs]).argsort(axis=1)
    mask_BN = np.zeros(order_BN.shape, dtype=bool)
    np.put_along_axis(mask_BN, order_BN[:, :count], True, axis=1)
    return mask_BN.reshape(-1, grid.height, grid.width)
