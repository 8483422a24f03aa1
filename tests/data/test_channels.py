"""Mean and deviation of the channels of a collection."""

import numpy as np
import pytest
from PIL import Image

from beit.data import measure_channels, open_source
from beit.errors import DataError


def test_every_pixel_counts_alike(tmp_path):
    rng, pixels = np.random.default_rng(0), []
    for number, (height, width) in enumerate([(16, 20), (40, 9), (12, 12)]):
        values = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(values).save(tmp_path / f"{number}.png")
        pixels.append(values.reshape(-1, 3) / 255)
    found, every = measure_channels(open_source(str(tmp_path)), 0.0), np.concatenate(pixels)
    np.testing.assert_allclose(found.mean, every.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(found.std, every.std(axis=0), rtol=1e-12)
    assert (found.pictures, found.broken) == (3, [])


def test_broken_pictures_are_counted(pictures):
    (pictures / "cat" / "0.png").write_bytes(b"x")
    assert len(measure_channels(open_source(str(pictures)), 0.5).broken) == 1
    with pytest.raises(DataError, match=r"1 of 12 pictures is broken, more than data\.max_broken allows"):
        measure_channels(open_source(str(pictures)), 0.01)
