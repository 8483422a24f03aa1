import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from beit.data import BatchOrder, Purpose, generator
from beit.errors import ConfigError


@given(st.integers(1, 30), st.integers(1, 12), st.integers(0, 3))
def test_every_epoch_sees_every_picture_once(size, batch_size, seed):
    steps = -(-3 * size // batch_size)
    seen = [position for batch in BatchOrder(size, batch_size, steps, seed) for position in batch][: 3 * size]
    assert sorted(seen) == [(epoch, index) for epoch in range(3) for index in range(size)]


@given(st.integers(0, 20))
def test_a_resumed_run_sees_the_same(start):
    whole = list(BatchOrder(17, 5, 21, seed=3))
    assert list(BatchOrder(17, 5, 21, seed=3, start=start)) == whole[start:]
    assert len(BatchOrder(17, 5, 21, seed=3, start=start)) == 21 - start


@pytest.mark.parametrize("world", [2, 3, 6])
def test_ranks_share_the_same_batches(world):
    whole = list(BatchOrder(17, 6, 10, seed=3))
    ranks = [list(BatchOrder(17, 6, 10, seed=3, rank=rank, world=world)) for rank in range(world)]
    for step, batch in enumerate(whole):
        assert sorted(position for rank in ranks for position in rank[step]) == sorted(batch)


def test_a_batch_that_ranks_cannot_share():
    with pytest.raises(ConfigError, match="batch_size 10 is not a multiple of the 4 processes; use 8"):
        BatchOrder(17, 10, 1, seed=0, world=4)


def test_streams_are_apart():
    draws = {generator(seed, purpose, epoch, index).random() for seed in range(3) for purpose in Purpose
             for epoch in range(3) for index in range(3)}  # fmt: skip
    assert len(draws) == 3 * len(Purpose) * 9
    assert generator(1, Purpose.MASK, 2, 3).random() == generator(1, Purpose.MASK, 2, 3).random()
    assert isinstance(generator(0, Purpose.VIEW), np.random.Generator)
