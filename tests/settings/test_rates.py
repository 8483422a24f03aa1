"""Published learning rates, and the rule for other batches."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beit.settings.rates import FINETUNING, PRETRAINING, PRETRAINING_MUON


def test_the_authors_rate_for_a_smaller_batch():
    assert PRETRAINING.at(2048) == 1.5e-3
    assert PRETRAINING.at(512) == 7.5e-4  # unilm 383
    assert FINETUNING.at(64) == 1e-3


@given(st.integers(1, 10_000))
def test_a_quarter_of_the_pictures_takes_half_of_the_rate(pictures):
    assert PRETRAINING.at(pictures) == pytest.approx(PRETRAINING.at(4 * pictures) / 2, rel=0.01)


def test_without_a_rule_the_batch_does_not_matter():
    assert PRETRAINING_MUON.at(8) == PRETRAINING_MUON.at(4096) == 6e-3


def test_reasons():
    assert PRETRAINING.reason(2048) == "0.0015 at 2,048 pictures per step, that of the published pre-training"
    assert PRETRAINING.reason(1).startswith("by the square root of the batch from 0.0015 at 2,048 pictures per step")
    assert "measured with Muon" in PRETRAINING_MUON.reason(1)
