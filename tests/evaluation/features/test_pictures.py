"""Fixed sets of pictures, and whether they have labels to measure with."""

import numpy as np
import pytest

from beit.data import Subset, Views, open_source
from beit.evaluation.features.pictures import PictureSet, missing_labels
from beit.image import Preprocessing

VIEW = Views(Preprocessing.cropping((8, 8), 1.0))


def part(source, *indices):
    return Subset(source, np.array(indices, dtype=np.int64))


def opened(source):
    """A source, and the numbers of the pictures that were opened of it."""
    seen, real = [], source.open
    source.open = lambda index: seen.append(index) or real(index)
    return source, seen


def test_a_small_set_is_read_once():
    source, seen = opened(open_source("digits:train"))
    pictures = PictureSet(part(source, 3, 5, 8), VIEW, 0, 2, workers=0)
    first, second = ([batch.tensors["pixel_values"] for batch in pictures.batches()] for _ in range(2))
    assert [len(batch) for batch in first] == [2, 1]
    assert all((one == other).all() for one, other in zip(first, second, strict=True))
    assert seen == [3, 5, 8]


def test_a_large_set_is_read_again(monkeypatch):
    monkeypatch.setattr("beit.evaluation.features.pictures._MOST_KEPT", 1000)
    source, seen = opened(open_source("digits:train"))
    pictures = PictureSet(part(source, 3, 5, 8), VIEW, 0, 2, workers=0)
    assert [len(list(pictures.batches())) for _ in range(2)] == [2, 2]
    assert seen == [3, 5, 8, 3, 5, 8]


def test_broken_pictures_are_left_out(pictures):
    (pictures / "cat" / "2.png").write_bytes(b"no picture")
    usable = PictureSet(open_source(str(pictures)), VIEW, 0, 4, workers=0)
    assert [batch.indices for batch in usable.batches()] == [[0, 1, 3], [4, 5, 6, 7], [8, 9, 10, 11]]
    assert [broken.name for broken in usable.broken] == [str(pictures / "cat" / "2.png")]
    assert sum(len(batch.indices) for batch in usable.batches()) == 11
    assert len(usable.broken) == 1


def test_labels_that_can_be_used():
    digits = open_source("digits:train")
    assert missing_labels(digits, open_source("digits:test"), k=10) is None
    assert missing_labels(part(digits, 0, 1, 2), digits, k=3) is None


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda bank: setattr(bank, "labels", None), "no label of one class each"),
        (lambda bank: setattr(bank, "label_kind", "value"), "no label of one class each"),
        (lambda bank: setattr(bank, "classes", ["cat", "dog"]), "have different classes"),
        (lambda bank: setattr(bank, "labels", np.zeros(4, dtype=int)), "are of one class"),
        (lambda bank: None, "4 training pictures are fewer than the 10 neighbours of monitor.k"),
    ],
)
def test_labels_that_cannot(change, reason):
    digits = open_source("digits:train")
    bank = part(digits, 0, 1, 2, 3)
    change(bank)
    assert reason in missing_labels(bank, digits, k=10)
