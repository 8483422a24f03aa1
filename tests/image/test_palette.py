import numpy as np
import pytest

from beit.errors import ConfigError
from beit.image.palette import coloured, indexed, palette

LABELS = np.array([[0, 1], [254, 255]])


@pytest.mark.parametrize("draw", [coloured, indexed])
def test_as_many_classes_as_8_bits_can_hold_have_their_colours_and_no_class_is_black(draw):
    pixels = np.asarray(draw(LABELS, 255).convert("RGB"))
    assert pixels.reshape(-1, 3)[:3].tolist() == palette(255)[[0, 1, 254]].tolist()
    assert pixels[1, 1].tolist() == [0, 0, 0]


@pytest.mark.parametrize("draw", [coloured, indexed])
def test_more_classes_are_refused(draw):
    with pytest.raises(ConfigError, match="has 256 classes; expected at most 255, the limit of pictures of 8 bits"):
        draw(LABELS, 256)
