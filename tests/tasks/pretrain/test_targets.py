"""Visual tokens as targets: their perplexity, and when nothing can be learnt from them."""

import pytest
import torch

from beit.tasks.pretrain.targets import targets_of


@pytest.mark.parametrize(
    ("counts", "perplexity", "objects"),
    [
        ([25] * 16, 16.0, False),
        ([50, 50] + [0] * 14, 2.0, False),
        ([970, 20, 10] + [0] * 13, 1.166, True),
        ([400] + [0] * 15, 1.0, True),
        ([50, 50], 2.0, False),  # a codebook of two
        ([97, 3], 1.14, False),
        ([999, 1], 1.008, True),
        ([0] * 16, 1.0, False),  # no picture was usable, which others report
    ],
)
def test_targets_that_are_nearly_always_the_same_are_objected_to(counts, perplexity, objects):
    found = targets_of(torch.tensor(counts, dtype=torch.float64), pictures=7)
    assert found.numbers["target_perplexity"] == pytest.approx(perplexity, rel=5e-3)
    assert (found.objection is not None) == objects


def test_the_objection_names_numbers_and_remedies():
    objection = targets_of(torch.tensor([970.0, 30.0] + [0.0] * 14), pictures=7).objection
    for words in ("7 training pictures have a perplexity of 1.14", "97.0% of all patches", "tokenizer.path", "longer"):
        assert words in objection
