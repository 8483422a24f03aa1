"""Fixed sets of pictures, and their features of every layer: means and variances over patches, and raw pixels."""

import numpy as np
import pytest
import torch

from beit.data import Subset, Views, open_source
from beit.errors import DataError
from beit.evaluation.features.layers import PictureSet, features_of, patch_pixels, pixel_features
from beit.evaluation.features.rank import position_spread, spread_of_moments
from beit.image import Preprocessing

VIEW = Views(Preprocessing.cropping((8, 8), 1.0))


def part(source, *indices):
    return Subset(source, np.array(indices, dtype=np.int64))


def opened(source):
    """A source, and the numbers of the pictures that were opened of it."""
    seen, real = [], source.open
    source.open = lambda index: seen.append(index) or real(index)
    return source, seen


def test_a_small_set_is_read_once():
    source, seen = opened(open_source("digits:train"))
    pictures = PictureSet(part(source, 3, 5, 8), VIEW, 0, 2, workers=0)
    first, second = ([batch.tensors["pixel_values"] for batch in pictures.batches()] for _ in range(2))
    assert [len(batch) for batch in first] == [2, 1]
    assert all((one == other).all() for one, other in zip(first, second, strict=True))
    assert seen == [3, 5, 8]


def test_a_large_set_is_read_again(monkeypatch):
    monkeypatch.setattr("beit.evaluation.features.layers._MOST_KEPT", 1000)
    source, seen = opened(open_source("digits:train"))
    pictures = PictureSet(part(source, 3, 5, 8), VIEW, 0, 2, workers=0)
    assert [len(list(pictures.batches())) for _ in range(2)] == [2, 2]
    assert seen == [3, 5, 8, 3, 5, 8]


def test_broken_pictures_are_left_out(pictures):
    (pictures / "cat" / "2.png").write_bytes(b"no picture")
    usable = PictureSet(open_source(str(pictures)), VIEW, 0, 4, workers=0)
    assert [batch.indices for batch in usable.batches()] == [[0, 1, 3], [4, 5, 6, 7], [8, 9, 10, 11]]
    assert [broken.name for broken in usable.broken] == [str(pictures / "cat" / "2.png")]
    assert sum(len(batch.indices) for batch in usable.batches()) == 11
    assert len(usable.broken) == 1


def digits(count, side=8):
    return PictureSet(
        part(open_source("digits:train"), *range(count)),
        Views(Preprocessing.cropping((side, side), 1.0)),
        0,
        4,
        workers=0,
    )


def patches(tensors):
    """Two layers: the four quarters of a picture as they are, and squared."""
    pixels = tensors["pixel_values"]
    quarters = pixels.unfold(2, 4, 4).unfold(3, 4, 4).permute(0, 2, 3, 1, 4, 5).flatten(3).flatten(1, 2)
    return [quarters, quarters**2]


def test_means_and_variances_over_patches():
    pictures = digits(10)
    passed = features_of(patches, pictures)
    whole = torch.cat([batch.tensors["pixel_values"] for batch in pictures.batches()])
    first, second = patches({"pixel_values": whole})
    assert passed.indices_P.tolist() == list(range(10))
    for layer, expected in zip(passed.layers, (first, second), strict=True):
        assert layer.means_PD == pytest.approx(expected.mean(dim=1).numpy(), abs=1e-6)
        assert spread_of_moments(layer.means_PD, layer.within_P) == pytest.approx(
            position_spread(expected.numpy()), rel=1e-5
        )


@pytest.mark.parametrize(("side", "features"), [(8, 3 * 8 * 8), (64, 3 * 16 * 16)])
def test_raw_pixels_are_averaged_where_there_are_many(side, features):
    pictures = digits(3, side)
    (layer,) = features_of(pixel_features, pictures).layers
    pixels = next(pictures.batches()).tensors["pixel_values"]
    blocks = pixels.unflatten(3, (-1, max(1, side // 16))).unflatten(2, (-1, max(1, side // 16))).mean(dim=(3, 5))
    assert layer.means_PD.shape == (3, features)
    assert layer.means_PD == pytest.approx(blocks.flatten(1).numpy(), abs=1e-6)


@pytest.mark.parametrize(("patch", "features"), [((4, 5), 3 * 4 * 5), ((32, 48), 3 * 16 * 16)])
def test_pixels_of_patches_are_averaged_where_there_are_many(patch, features):
    pixels = torch.rand(2, 3, 3 * patch[0], 2 * patch[1])
    (layer,) = patch_pixels((3, 2))({"pixel_values": pixels})
    assert layer.shape == (2, 6, features)
    for number in range(6):
        top, left = number // 2 * patch[0], number % 2 * patch[1]
        own = pixels[:, :, top : top + patch[0], left : left + patch[1]]
        expected = own if patch[0] <= 16 else own.unflatten(3, (16, 3)).unflatten(2, (16, 2)).mean(dim=(3, 5))
        assert torch.allclose(layer[:, number], expected.flatten(1), atol=1e-6)


def test_pictures_of_which_none_is_usable(pictures):
    for path in pictures.rglob("*.png"):
        path.write_bytes(b"no picture")
    broken = PictureSet(open_source(str(pictures)), Views(Preprocessing.cropping((8, 8), 1.0)), 0, 4, workers=0)
    with pytest.raises(DataError):
        features_of(pixel_features, broken)
