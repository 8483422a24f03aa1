"""Held-out pictures: never few without a word."""

import logging

import numpy as np
import pytest

from beit.data import ImageSource
from beit.settings.groups import DataSettings
from beit.settings.inputs import hold_out, open_sources


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


@pytest.mark.parametrize(
    ("path", "val_path", "labels", "shared"),
    [
        ("pictures", "pictures", (), 12),
        ("pictures", "pictures/../pictures/cat", (), 6),
        ("pictures", "pictures", ("cat/0.png,cat", "dog/1.png,dog", "dog/2.png,dog"), 2),
        ("pictures/cat", "pictures/dog", (), 0),
        ("digits:train", "digits:train", (), 1297),
        ("digits:train", "digits:test", (), 0),
    ],
)
def test_pictures_to_validate_on_that_are_trained_on_are_counted(pictures, caplog, path, val_path, labels, shared):
    options = {"path": path, "val_path": val_path}
    options = {name: str(pictures.parent / one) if "digits" not in one else one for name, one in options.items()}
    for name, rows in (("labels", labels[:2]), ("val_labels", labels)) if labels else ():
        options[name] = str(pictures.parent / f"{name}.csv")
        (pictures.parent / f"{name}.csv").write_text("\n".join(["file_name,label", *rows]))
    with caplog.at_level(logging.WARNING, "beit"):
        sources = open_sources(DataSettings(**options), 0)
    said = [line for line in caplog.messages if "among those to train on" in line]
    assert len(said) == (shared > 0)
    assert not said or said[0].startswith(f"{shared:,} of {len(sources.val):,} pictures to validate on are among those")
