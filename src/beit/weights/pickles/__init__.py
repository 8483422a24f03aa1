"""Pickles of torch and of Python, interpreted without running anything: what a `.bin`, `.pth` or `.pkl` file holds."""

from beit.weights.pickles.files import open_pickled
from beit.weights.pickles.stored import StoredModule

__all__ = ["StoredModule", "open_pickled"]
