"""Pickles of torch and of Python, interpreted without running anything: what a `.bin`, `.pth` or `.pkl` file holds."""

from beit.weights.pickles.files import open_pickled
from beit.weights.pickles.torch_objects import PickledModule

__all__ = ["PickledModule", "open_pickled"]
