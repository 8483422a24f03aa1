"""The verdict on a pre-training, of its held-out pictures."""

import pytest

from beit.tasks.pretrain.held_out import verdict


@pytest.mark.parametrize(
    ("accuracy", "most_frequent", "words"),
    [
        (0.3853, 0.3764, "hardly guesses better"),
        (0.13, 0.16, "is worse than always guessing the most frequent token"),
        (1.0, 0.99, "next to nothing to learn"),
        (0.2, 0.1, None),
    ],
)
def test_a_pretraining_that_learnt_next_to_nothing_is_reported(accuracy, most_frequent, words):
    warning = verdict({"accuracy": accuracy, "frequency_accuracy": most_frequent})
    assert warning is None if words is None else words in warning
