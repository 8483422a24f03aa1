"""Position tables at another grid, against scipy and torch, which the package does without here."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.interpolate import RectBivariateSpline, RegularGridInterpolator

from beit.errors import ConfigError
from beit.geometry import Grid, bias_offsets, num_relative_positions, resize_bias_table, resize_positions
from beit.geometry.resampling import bias_weights, geometric_offsets, position_weights

grids = st.builds(Grid, st.integers(2, 20), st.integers(2, 20))


def a_table(grid, heads=2, seed=0):
    return np.random.default_rng(seed).normal(size=(num_relative_positions(grid), heads))


def resized_by(method, source, target):
    return resize_bias_table(a_table(source), source, target, method)[:-3].reshape(*bias_offsets(target), -1)


@given(grids.filter(lambda grid: min(grid) > 2), grids)
def test_cubic_is_scipys_spline_on_the_geometric_grid(source, target):
    if source == target:
        return
    table = a_table(source)[:-3].reshape(*bias_offsets(source), -1)
    y, x = (geometric_offsets(n, m) for n, m in zip(bias_offsets(source), bias_offsets(target), strict=True))
    wanted_y, wanted_x = np.arange(-target.height + 1, target.height), np.arange(-target.width + 1, target.width)
    ours = resized_by("cubic", source, target)
    for head in range(2):
        spline = RectBivariateSpline(y, x, table[..., head], kx=3, ky=3, s=0)
        reference = spline(np.clip(wanted_y, y[0], y[-1]), np.clip(wanted_x, x[0], x[-1]))
        np.testing.assert_allclose(ours[..., head], reference, atol=1e-9)


@pytest.mark.parametrize("side", [24, 32, 40], ids=["384 pixels", "512 pixels", "640 pixels"])
def test_cubic_at_the_published_sizes(side):
    """From 224 pixels, as the published models were tuned: the authors' own computation, written with scipy."""
    source, target = Grid(14, 14), Grid(side, side)
    offsets = geometric_offsets(27, 2 * side - 1)
    wanted = np.clip(np.arange(-side + 1, side), offsets[0], offsets[-1])
    table, ours = a_table(source)[:-3].reshape(27, 27, -1), resized_by("cubic", source, target)
    for head in range(2):
        reference = RectBivariateSpline(offsets, offsets, table[..., head], kx=3, ky=3, s=0)(wanted, wanted)
        np.testing.assert_allclose(ours[..., head], reference, atol=1e-9)


@given(grids, grids)
def test_linear_is_scipys_on_the_geometric_grid(source, target):
    if source == target:
        return
    table = a_table(source)[:-3].reshape(*bias_offsets(source), -1)
    y, x = (geometric_offsets(n, m) for n, m in zip(bias_offsets(source), bias_offsets(target), strict=True))
    wanted = np.meshgrid(
        np.clip(np.arange(-target.height + 1, target.height), y[0], y[-1]),
        np.clip(np.arange(-target.width + 1, target.width), x[0], x[-1]),
        indexing="ij",
    )
    reference = RegularGridInterpolator((y, x), table)(np.stack(wanted, axis=-1))
    np.testing.assert_allclose(resized_by("linear", source, target), reference, atol=1e-9)


@given(grids, grids)
def test_bilinear_and_bicubic_are_torchs(source, target):
    table = torch.from_numpy(a_table(source)[:-3]).view(*bias_offsets(source), -1).permute(2, 0, 1)[None]
    for size, mode, (weights_y, weights_x) in (
        (bias_offsets(target), "bilinear", bias_weights(source, target, "bilinear")),
        (tuple(target), "bicubic", position_weights(source, target)),
    ):
        values = table if mode == "bilinear" else table[..., : source.height, : source.width]
        reference = torch.nn.functional.interpolate(values, size=size, mode=mode)[0].numpy()
        ours = np.einsum("yh,xw,khw->kyx", weights_y, weights_x, values[0].numpy())
        np.testing.assert_allclose(ours, reference, atol=1e-9)


@given(grids, grids, st.sampled_from(["cubic", "linear", "bilinear"]))
def test_laws(source, target, method):
    """A constant stays what it is, [CLS] keeps its rows, the own size changes nothing, types are kept."""
    constant = np.full((num_relative_positions(source), 1), 3.0, dtype=np.float32)
    resized = resize_bias_table(constant, source, target, method)
    assert resized.shape == (num_relative_positions(target), 1)
    assert resized.dtype == np.float32
    np.testing.assert_allclose(resized, 3.0, rtol=1e-5)
    table = a_table(source)
    np.testing.assert_array_equal(resize_bias_table(table, source, target, method)[-3:], table[-3:])
    np.testing.assert_allclose(resize_bias_table(table, source, source, method), table, atol=1e-12)


def test_height_comes_before_width():
    """On a grid that is not square, a table that varies along one axis only still does so afterwards."""
    source, target = Grid(3, 5), Grid(6, 4)
    height, width = bias_offsets(source)
    table = np.concatenate((np.repeat(np.arange(height, dtype=float), width)[:, None], np.zeros((3, 1))))
    for method in ("cubic", "linear", "bilinear"):
        resized = resize_bias_table(table, source, target, method)[:-3].reshape(bias_offsets(target))
        assert np.ptp(resized, axis=1).max() < 1e-9
        assert np.all(np.diff(resized[:, 0]) > -1e-9)


@pytest.mark.parametrize("method", ["cubic", "linear", "bilinear"])
def test_a_grid_of_one_row_has_one_vertical_offset(method):
    source, target = Grid(1, 4), Grid(3, 6)
    resized = resized_by(method, source, target)
    across = resize_bias_table(a_table(source), source, Grid(1, 6), method)[:-3].reshape(1, 11, -1)
    np.testing.assert_allclose(resized, np.repeat(across, 5, axis=0), atol=1e-12)


@pytest.mark.parametrize(("source", "target"), [(27, 47), (27, 79), (13, 27)])
def test_steps_of_the_geometric_grid_grow_evenly_to_the_outermost_offset(source, target):
    offsets = geometric_offsets(source, target)
    steps = np.diff(offsets[source // 2 :])
    assert offsets[source // 2] == 0
    assert steps[0] == 1
    np.testing.assert_allclose(steps[1:] / steps[:-1], steps[1])
    np.testing.assert_array_equal(offsets, -offsets[::-1])
    assert offsets[-1] == pytest.approx(target // 2, abs=1e-3)


@pytest.mark.parametrize(("target", "ratio"), [(5, 1.01), (2001, 1.5)])
def test_the_ratio_of_the_geometric_grid_stays_between_its_bounds(target, ratio):
    """As in the authors' search: where no ratio reaches the outermost offset exactly, the nearest bound is taken."""
    steps = np.diff(geometric_offsets(7, target)[3:])
    assert steps[1] == pytest.approx(ratio, abs=1e-5)


@pytest.mark.parametrize("method", ["cubic", "linear"])
def test_the_smallest_grid_keeps_its_values_to_the_edge(method):
    """Two patches have the offsets -1, 0 and 1: what lies farther has the value of the outermost."""
    table = a_table(Grid(2, 2))[:-3].reshape(3, 3, -1)
    resized = resized_by(method, Grid(2, 2), Grid(4, 3))
    np.testing.assert_allclose(resized, table[[0, 0, 0, 1, 2, 2, 2]][:, [0, 0, 1, 2, 2]], atol=1e-12)


def test_positions_are_torchs_bicubic():
    source, target = Grid(3, 4), Grid(5, 2)
    positions = np.random.default_rng(0).normal(size=(1, 13, 8))
    patches = torch.from_numpy(positions[:, 1:]).reshape(1, 3, 4, 8).permute(0, 3, 1, 2)
    reference = torch.nn.functional.interpolate(patches, size=(5, 2), mode="bicubic").flatten(2).transpose(1, 2)
    np.testing.assert_allclose(resize_positions(positions, source, target)[:, 1:], reference.numpy(), atol=1e-9)


def test_positions_keep_cls():
    source, target = Grid(3, 4), Grid(5, 2)
    positions = np.random.default_rng(0).normal(size=(1, 13, 8)).astype(np.float32)
    resized = resize_positions(positions, source, target)
    assert resized.shape == (1, 11, 8)
    assert resized.dtype == np.float32
    np.testing.assert_array_equal(resized[:, 0], positions[:, 0])


def test_an_unknown_method():
    with pytest.raises(ConfigError, match="bias_resize is 'nearest'; expected one of"):
        resize_bias_table(a_table(Grid(2, 2)), Grid(2, 2), Grid(3, 3), "nearest")
