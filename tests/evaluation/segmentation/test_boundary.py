"""Agreement of outlines, by hand."""

import torch

from beit.evaluation.segmentation.boundary import boundary_f1


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
