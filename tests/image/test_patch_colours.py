import numpy as np
import pytest
from sklearn.decomposition import PCA

from beit.errors import DataError
from beit.image.patch_colours import enlarged, fit_colours, principal_axes, similarity


def maps(count, seed=0, features=24):
    """Features of pictures of different grids, with a mean far from 0."""
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(features, features))
    grids = [(3, 5), (4, 4), (6, 2), (1, 7)]
    found = [rng.normal(size=(*grids[index % 4], features)) @ mixing + 30 for index in range(count)]
    return [one.astype(np.float32) for one in found]


def flat(found):
    return np.concatenate([one.reshape(-1, one.shape[-1]) for one in found])


@pytest.mark.parametrize("count", [1, 2, 9])
def test_axes_are_those_of_scikit_learn(count):
    found = maps(count)
    axes = principal_axes(one.reshape(-1, 24) for one in found)
    expected = PCA(3, svd_solver="full").fit(flat(found).astype(np.float64))
    assert np.allclose(axes.mean_D, expected.mean_)
    assert np.allclose(np.abs((axes.axes_CD * expected.components_).sum(1)), 1), "up to the sign"
    assert np.allclose(axes.deviations_C**2, expected.explained_variance_)
    assert np.allclose(axes.shares_C, expected.explained_variance_ratio_)
    largest = np.abs(axes.axes_CD).argmax(1)
    assert (axes.axes_CD[range(3), largest] > 0).all(), "the sign is that of the largest loading"
    assert np.allclose(np.abs(axes.scores(found[0])), np.abs(expected.transform(flat(found[:1]))).reshape(3, 5, 3))


def test_signs_do_not_depend_on_the_order_of_patches():
    (one,) = maps(1)
    rows = one.reshape(-1, 24)
    assert np.allclose(principal_axes([rows]).axes_CD, principal_axes([rows[::-1]]).axes_CD)
    assert np.allclose(principal_axes([rows]).axes_CD, principal_axes([rows[:4], rows[4:4], rows[4:]]).axes_CD)


def test_colours_reach_two_deviations_around_grey():
    (one,) = maps(1)
    colours = fit_colours(lambda: [one])
    scores = colours.axes.scores(one) / colours.axes.deviations_C
    expected = np.rint(255 * (0.5 + scores / 4).clip(0, 1))
    assert np.array_equal(colours(one), expected)
    assert colours(one).dtype == np.uint8
    assert colours.foreground(one).all()


def test_pictures_share_the_colours_of_a_set():
    found = maps(5)
    colours = fit_colours(lambda: iter(found))
    assert np.array_equal(colours.axes.axes_CD, principal_axes(one.reshape(-1, 24) for one in found).axes_CD)
    assert not np.array_equal(colours(found[0]), fit_colours(lambda: found[:1])(found[0]))


def test_what_does_not_vary_is_grey():
    """Rounding is no variance, and two patches have one component."""
    still = np.full((4, 4, 24), 7.3, np.float32)
    still += np.random.default_rng(0).normal(size=still.shape).astype(np.float32) * 1e-7
    assert (fit_colours(lambda: [still])(still) == 128).all()
    assert (fit_colours(lambda: [still[:1, :1]])(still[:1, :1]) == 128).all()
    pair = np.zeros((1, 2, 24), np.float32)
    pair[0, 1, 3] = 2
    axes = fit_colours(lambda: [pair]).axes
    assert axes.shares_C.tolist() == [1, 0, 0]
    assert not axes.axes_CD[1:].any()
    assert (fit_colours(lambda: [still], foreground=True)(still) == 0).all()


@pytest.mark.parametrize("sign", [1, -1])
def test_the_foreground_is_what_keeps_off_the_border(sign):
    rng = np.random.default_rng(0)
    scene = rng.normal(size=(8, 8, 24)).astype(np.float32) * 0.1
    inside = np.zeros((8, 8), bool)
    inside[2:6, 3:7] = True
    scene[inside, 5] += sign * 9
    colours = fit_colours(lambda: [scene], foreground=True)
    assert np.array_equal(colours.foreground(scene), inside)
    assert (colours(scene)[~inside] == 0).all()
    expected = PCA(3, svd_solver="full").fit(scene[inside].astype(np.float64))
    assert np.allclose(np.abs((colours.axes.axes_CD * expected.components_).sum(1)), 1)


def test_similarities_are_cosines():
    (one,) = maps(1)
    found = similarity(one, 1, 4)
    rows = one.reshape(-1, 24).astype(np.float64)
    expected = rows @ one[1, 4] / np.linalg.norm(rows, axis=1) / np.linalg.norm(one[1, 4])
    assert np.allclose(found.ravel(), expected, atol=1e-6)
    assert found[1, 4] == pytest.approx(1)
    assert not similarity(np.zeros((2, 2, 3), np.float32), 0, 0).any()


def test_a_patch_is_a_square_of_the_picture():
    colours = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    assert np.array_equal(np.asarray(enlarged(colours, (32, 16))), colours.repeat(8, 0).repeat(8, 1))


def test_without_patches_there_is_no_pca():
    with pytest.raises(DataError, match="there are no patches; expected one picture at least"):
        fit_colours(list)
