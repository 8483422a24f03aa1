"""Samples of a collection, and broken pictures among them."""

import errno
import os

import numpy as np
import pytest

from beit.data import (
    Augmentation,
    Collate,
    ViewDataset,
    Views,
    evaluation_batches,
    open_source,
    training_batches,
)
from beit.errors import BeitError, DataError, GoneError
from beit.image import Preprocessing

VIEWS = Views(Preprocessing((32, 32), (36, 36)), Augmentation(color_jitter=0.4), (16, 16))


def test_epochs_differ(pictures):
    dataset = ViewDataset(open_source(str(pictures)), VIEWS, seed=5, replace_broken=True)
    one, other = dataset[0, 3].views["pixel_values"], dataset[1, 3].views["pixel_values"]
    assert not np.array_equal(one, other)


def test_a_broken_picture_is_replaced_in_training_and_left_out_in_evaluation(pictures):
    (pictures / "cat" / "2.png").write_bytes(b"broken")
    source = open_source(str(pictures))
    training = ViewDataset(source, VIEWS, seed=0, replace_broken=True)[0, 2]
    assert training.position == (0, 3)
    assert [broken.name for broken in training.broken] == [source.name(2)]
    batches = list(evaluation_batches(ViewDataset(source, VIEWS, 0, replace_broken=False), Collate(0), 4, workers=0))
    assert [index for batch in batches for index in batch.indices] == [0, 1, *range(3, 12)]
    assert sum(len(batch.broken) for batch in batches) == 1


@pytest.mark.parametrize("replaced", [True, False])
def test_a_picture_that_has_gone_is_no_broken_one(pictures, replaced):
    """Another in its place would change what an undisturbed run gives; nor is it left out of a measurement."""
    dataset = ViewDataset(open_source(str(pictures)), VIEWS, 0, replaced)
    (pictures / "cat").rename(pictures / "away")
    with pytest.raises(GoneError, match=r"2\.png was there when it was listed and cannot be read .*: bring it back"):
        dataset[0, 2]
    with pytest.raises(GoneError, match=r"cat/0\.png was there when"):
        list(training_batches(dataset, [[(0, 0), (0, 7)]], Collate(0), 1))
    (pictures / "cat").write_bytes(b"a file has its name now")
    with pytest.raises(GoneError, match="Not a directory"):
        dataset[0, 2]


@pytest.mark.parametrize(
    ("number", "gone", "words"),
    [
        (errno.ESTALE, True, "bring it back"),
        (errno.ENOTCONN, True, "bring it back"),
        (errno.EMFILE, True, r"allow more open files \(ulimit -n\)"),
        (errno.EIO, False, "cannot be read: Input/output error"),
    ],
)
def test_a_disk_that_is_away_breaks_no_picture(pictures, monkeypatch, number, gone, words):
    source = open_source(str(pictures))

    def fails(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("beit.data.sources.folder.read_regular", fails)
    with pytest.raises(BeitError, match=words) as caught:
        source.open(2)
    assert isinstance(caught.value, GoneError if gone else DataError)


def test_a_link_to_nothing_is_a_broken_picture(pictures):
    (pictures / "cat" / "6.png").symlink_to("nowhere.png")
    dataset = ViewDataset(open_source(str(pictures)), VIEWS, 0, replace_broken=True)
    assert [broken.name for broken in dataset[0, 6].broken] == [dataset.name(6)]
