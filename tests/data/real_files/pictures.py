"""Small pictures as people have them."""

import numpy as np
from PIL import Image


def save(path, value=100, size=(16, 16)):
    """Save a picture of one colour; return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((*size, 3), value, np.uint8)).save(path)
    return path


def names(source):
    """The file names of a collection in order."""
    return [source.name(index).rpartition("/")[2] for index in range(len(source))]
