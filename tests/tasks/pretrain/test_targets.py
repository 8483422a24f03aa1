"""Visual tokens as targets: when nothing can be learnt from them."""

import pytest
import torch

from beit.tasks.pretrain.targets import objection_to


@pytest.mark.parametrize(
    ("counts", "objects"),
    [
        ([25] * 16, False),
        ([50, 50] + [0] * 14, False),
        ([970, 20, 10] + [0] * 13, True),
        ([400] + [0] * 15, True),
        ([50, 50], False),  # a codebook of two
        ([97, 3], False),
        ([999, 1], True),
        ([0] * 16, False),  # no picture was usable, which others report
    ],
)
def test_targets_that_are_nearly_always_the_same_are_objected_to(counts, objects):
    assert (objection_to(torch.tensor(counts, dtype=torch.float64), pictures=7) is not None) == objects


def test_the_objection_names_numbers_and_remedies():
    objection = objection_to(torch.tensor([970.0, 30.0] + [0.0] * 14), pictures=7)
    for words in ("7 training pictures have a perplexity of 1.14", "97.0% of all patches", "tokenizer.path", "longer"):
        assert words in objection
