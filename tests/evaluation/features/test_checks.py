"""Whether pictures have labels to measure features with; the checks of features are met in test_neighbours.py."""

import numpy as np
import pytest

from beit.data import Subset, open_source
from beit.evaluation.features.checks import missing_labels


def part(source, *indices):
    return Subset(source, np.array(indices, dtype=np.int64))


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
