"""Resampling of position tables: relative position bias and absolute positions, as small weight matrices.

Every method is linear in the table and works along one axis at a time, so it is two matrices, one per axis. They are
computed here once, in float64, and applied by numpy, torch or jax alike.

Legend: n source length, m target length of one axis.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from beit.errors import ConfigError
from beit.geometry.grid import Grid

Array = NDArray[np.float64]
BiasResize = Literal["cubic", "linear", "bilinear"]
BIAS_RESIZE: tuple[str, ...] = get_args(BiasResize)
_KEYS_SHARPNESS = -0.75  # the cubic convolution coefficient of the reference implementations


def bias_offsets(grid: Grid) -> tuple[int, int]:
    """Return how many vertical and horizontal offsets two patches of a grid can have."""
    return 2 * grid.height - 1, 2 * grid.width - 1


@lru_cache(maxsize=64)
def bias_weights(source: Grid, target: Grid, method: str) -> tuple[Array, Array]:
    """Return the matrices (m, n) for the vertical and the horizontal axis of a relative position bias table.

    "cubic" is the authors' method: source offsets on a geometric grid, fine in the middle, and a bicubic spline through
    them. "linear" is timm's: the same grid, straight lines. "bilinear" stretches the table evenly, which is what
    Hugging Face transformers does at run time.

    Source: `run_class_finetuning.py` of microsoft/unilm; `resize_rel_pos_bias_table` of timm.
    """
    if method not in BIAS_RESIZE:
        raise ConfigError(f"bias_resize is {method!r}; expected one of {list(BIAS_RESIZE)}")
    axes: dict[str, Callable[[int, int], Array]] = {
        "cubic": lambda n, m: _geometric_weights(n, m, degree=3),
        "linear": lambda n, m: _geometric_weights(n, m, degree=1),
        "bilinear": bilinear_weights,
    }
    (from_y, from_x), (to_y, to_x) = bias_offsets(source), bias_offsets(target)
    if method != "bilinear" and (from_y, from_x) == (to_y, to_x):  # the geometric grid would distort an equal size
        return np.eye(from_y), np.eye(from_x)
    return axes[method](from_y, to_y), axes[method](from_x, to_x)


@lru_cache(maxsize=64)
def position_weights(source: Grid, target: Grid) -> tuple[Array, Array]:
    """Return the matrices (m, n) for both axes of absolute positions: bicubic, as all reference implementations do."""
    return bicubic_weights(source.height, target.height), bicubic_weights(source.width, target.width)


def resize_bias_table(table: NDArray[np.floating], source: Grid, target: Grid, method: str) -> NDArray[np.floating]:
    """Resize a bias table (rows, heads) from one grid to another; the three rows of [CLS] stay as they are."""
    weights_y, weights_x = bias_weights(source, target, method)
    height, width = bias_offsets(source)
    offsets = table[:-3].astype(np.float64).reshape(height, width, -1)
    resized = np.einsum("yh,xw,hwk->yxk", weights_y, weights_x, offsets, optimize=True)
    return np.concatenate((resized.reshape(-1, table.shape[1]).astype(table.dtype), table[-3:]))


def resize_positions(positions: NDArray[np.floating], source: Grid, target: Grid) -> NDArray[np.floating]:
    """Resize absolute positions (1, 1 + N, D) from one grid to another; [CLS] stays as it is."""
    weights_y, weights_x = position_weights(source, target)
    patches = positions[0, 1:].astype(np.float64).reshape(*source, -1)
    resized = np.einsum("yh,xw,hwd->yxd", weights_y, weights_x, patches, optimize=True)
    resized = resized.reshape(1, target.patches, -1).astype(positions.dtype)
    return np.concatenate((positions[:, :1], resized), axis=1)


def bilinear_weights(n: int, m: int) -> Array:
    """Return (m, n): linear interpolation between pixel centres, the border repeated."""
    centre = np.maximum((np.arange(m) + 0.5) * n / m - 0.5, 0.0)
    left = np.floor(centre).astype(int)
    share = centre - left
    weights = np.zeros((m, n))
    rows = np.arange(m)
    np.add.at(weights, (rows, np.minimum(left, n - 1)), 1.0 - share)
    np.add.at(weights, (rows, np.minimum(left + 1, n - 1)), share)
    return weights


def bicubic_weights(n: int, m: int) -> Array:
    """Return (m, n): cubic convolution (Keys, 1981) between pixel centres, the border repeated."""
    centre = (np.arange(m) + 0.5) * n / m - 0.5
    left = np.floor(centre).astype(int)
    weights = np.zeros((m, n))
    for tap in range(-1, 3):
        np.add.at(weights, (np.arange(m), np.clip(left + tap, 0, n - 1)), _keys(np.abs(centre - left - tap)))
    return weights


def _keys(distance: Array) -> Array:
    a, x = _KEYS_SHARPNESS, distance
    near = ((a + 2) * x - (a + 3)) * x**2 + 1
    far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return np.where(x <= 1, near, np.where(x < 2, far, 0.0))


def _geometric_weights(n: int, m: int, degree: int) -> Array:
    """Return (m, n): a spline through source offsets that lie on the authors' geometric grid."""
    if n == 1:
        return np.ones((m, 1))
    source = geometric_offsets(n, m)
    # offsets beyond the outermost source offset get its value, as in scipy's interpolation
    target = np.clip(np.arange(m) - m // 2, source[0], source[-1]).astype(np.float64)
    if n == 3:  # -1, 0 and 1, where the clipped targets are too: no curve is needed between them
        degree = 1
    knots = _knots(source, degree)
    return _b_splines(target, knots, degree) @ np.linalg.inv(_b_splines(source, knots, degree))


def geometric_offsets(n: int, m: int) -> Array:
    """Return the places of the n source offsets among the m target offsets: steps grow by a constant ratio from 1.

    The ratio is found by bisection so that the outermost source offset falls on the outermost target offset.
    """
    lower, upper, ratio = 1.01, 1.5, 1.01
    while upper - lower > 1e-6:
        ratio = (lower + upper) / 2
        reach = (1 - ratio ** (n // 2)) / (1 - ratio)
        lower, upper = (lower, ratio) if reach > m // 2 else (ratio, upper)
    side = np.cumsum(ratio ** np.arange(n // 2))
    return np.concatenate((-side[::-1], [0.0], side))


def _knots(points: Array, degree: int) -> Array:
    """Return the knots of the spline that passes through all points, without a kink near the ends ("not a knot")."""
    inner = points[(degree + 1) // 2 : len(points) - (degree + 1) // 2]
    return np.concatenate(([points[0]] * (degree + 1), inner, [points[-1]] * (degree + 1)))


def _b_splines(x: Array, knots: Array, degree: int) -> Array:
    """Return the B-spline basis at x, (len(x), number of splines), by the recursion of Cox and de Boor."""
    last = np.searchsorted(knots, knots[-1]) - 1  # the final interval is closed on the right
    interval = np.minimum(np.searchsorted(knots, x, side="right") - 1, last)
    basis = np.zeros((len(x), len(knots) - 1))
    basis[np.arange(len(x)), interval] = 1.0
    for order in range(1, degree + 1):
        rise, fall = knots[order:-1] - knots[: -order - 1], knots[order + 1 :] - knots[1:-order]
        up = np.divide(x[:, None] - knots[: -order - 1], rise, out=np.zeros((len(x), len(rise))), where=rise > 0)
        down = np.divide(knots[order + 1 :] - x[:, None], fall, out=np.zeros((len(x), len(fall))), where=fall > 0)
        basis = up * basis[:, :-1] + down * basis[:, 1:]
    return basis
