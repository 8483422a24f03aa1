"""Agreement of label maps, by hand."""

import pytest
import torch

from beit.evaluation.segmentation.scores import SegmentationScores


def test_numbers_by_hand():
    scores = SegmentationScores(3)
    true = torch.tensor([[0, 0, 1], [0, 255, 1]])
    scores.add(torch.tensor([[0, 1, 1], [0, 2, 1]]), true)
    assert scores.confusion_KK.tolist() == [[2, 1, 0], [0, 2, 0], [0, 0, 0]]
    assert scores.iou[:2].tolist() == pytest.approx([2 / 3, 2 / 3])
    assert scores.iou[2].isnan(), "neither there nor predicted where it counts"
    numbers = scores.numbers()
    assert numbers["mean_iou"] == pytest.approx(2 / 3)
    assert numbers["mean_accuracy"] == pytest.approx((2 / 3 + 1) / 2)
    assert numbers["pixel_accuracy"] == pytest.approx(4 / 5)
    assert numbers["pictures"] == 1


def test_pictures_add_up():
    generator = torch.Generator().manual_seed(0)
    maps = torch.randint(0, 3, (2, 4, 6, 7), generator=generator)
    together, apart = SegmentationScores(3), SegmentationScores(3)
    for predicted, true in zip(*maps, strict=True):
        together.add(predicted, true)
    apart.add(maps[0].flatten(0, 1), maps[1].flatten(0, 1))
    torch.testing.assert_close(together.iou, apart.iou)
