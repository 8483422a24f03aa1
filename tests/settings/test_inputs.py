"""Held-out pictures: never few without a word."""

import logging

import numpy as np
import pytest

from beit.data import ImageSource
from beit.settings.inputs import hold_out


class Numbered(ImageSource):
    """Pictures that are never opened."""

    def __init__(self, count, classes=2):
        self._count, self.classes = count, [str(number) for number in range(classes)]
        self.labels, self.label_kind = np.arange(count) % classes, "class"

    def __len__(self):
        return self._count

    def open(self, index):
        raise NotImplementedError

    def contents(self):
        raise NotImplementedError

    def name(self, index):
        return str(index)


@pytest.mark.parametrize(
    ("pictures", "share", "held_out", "line"),
    [
        (2000, 0.05, 100, None),
        (1000, 0.05, 50, None),
        (400, 0.05, 50, "data.val_share 0.05 of 400 pictures would be 20, too few to measure on: 50 are held out"),
        (250, 0.05, 50, "data.val_share 0.05 of 250 pictures would be 12, too few to measure on: 50 are held out"),
        (200, 0.05, 10, "10 of 200 pictures are held out, of which each counts 10.0 %: measurements are rough"),
        (200, 0.4, 80, None),
    ],
)
@pytest.mark.parametrize("stratified", [False, True])
def test_few_held_out_pictures_are_made_50_or_named(caplog, pictures, share, held_out, line, stratified):
    with caplog.at_level(logging.WARNING, "beit"):
        train, val = hold_out(Numbered(pictures), share, 0, stratified)
    assert (len(train), len(val)) == (pictures - held_out, held_out)
    assert bool(caplog.messages) == (line is not None)
    assert line is None or caplog.messages[0].startswith(line)
