"""Tokens and labels."""

import shutil

import numpy as np

from beit.data import TokenWriter, write_labels_and_names
from tests.files.writers.table import writer


@writer("data/tokens.py")
def tokens(_):
    def write(place):
        shutil.rmtree(place, ignore_errors=True)
        TokenWriter(place, {"seed": 0}, (2, 1, 2, 2)).append(np.zeros((2, 2, 2), np.int64))

    return write


@writer("data/tokens.py")
def names(_):
    return lambda place: write_labels_and_names(place, ["a.png", "b\udcff.png"], None)


@writer("data/tokens.py")
def labels(_):
    return lambda place: write_labels_and_names(place, [""], np.zeros(100, np.int64))
