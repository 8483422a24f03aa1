"""Pictures in, arrays out: Pillow and numpy only."""

from beit.image.arrays import HALF, normalise, to_unit_array
from beit.image.preprocessing import Box, Preprocessing
from beit.image.reading import EXTENSIONS, read_image

__all__ = ["EXTENSIONS", "HALF", "Box", "Preprocessing", "normalise", "read_image", "to_unit_array"]
