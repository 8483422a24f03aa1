"""Pickles of torch and of Python (`.bin`, `.pth`, `.pkl`), interpreted without executing code."""

from beit.weights.pickles.files import open_pickled
from beit.weights.pickles.torch_objects import PickledModule

__all__ = ["PickledModule", "open_pickled"]
