"""Agreement of label maps, by hand."""

import pytest
import torch

from beit.evaluation.segmentation.scores import SegmentationScores, boundary_f1


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


def squares(left, size=100):
    """Class 1 is a square of 40 pixels in class 0."""
    labels = torch.zeros(size, size, dtype=torch.int64)
    labels[30:70, left : left + 40] = 1
    return labels


def test_outlines_may_be_off_a_little():
    assert boundary_f1(squares(30), squares(30), 2).tolist() == [1, 1]
    # the tolerance of a diagonal of 141 pixels is 2
    assert boundary_f1(squares(31), squares(30), 2).tolist() == [1, 1]
    off = boundary_f1(squares(35), squares(30), 2)
    assert 0.4 < off[1] < 0.95, "top and bottom still agree, the sides do not"


def test_outlines_of_what_is_missing():
    nothing = torch.zeros(100, 100, dtype=torch.int64)
    found = boundary_f1(nothing, squares(30), 3)
    assert found[:2].tolist() == [0, 0]
    assert found[2].isnan()
    hidden = squares(30).masked_fill(squares(30) == 1, 255)
    assert boundary_f1(squares(30), hidden, 2)[1].isnan(), "what is ignored is no part of either"
