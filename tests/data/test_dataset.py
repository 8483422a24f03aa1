"""Samples of a collection, and broken pictures among them."""

import numpy as np

from beit.data import (
    Augmentation,
    Collate,
    ViewDataset,
    Views,
    evaluation_batches,
    open_source,
)
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
