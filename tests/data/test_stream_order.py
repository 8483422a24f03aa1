"""An order that reads nearly as the pictures lie, and is still a function of (seed, epoch) alone."""

import time
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from beit.data import BatchOrder, few_per_class, open_source, split
from beit.data.shuffle import WindowShuffle
from beit.data.subset import Subset

SHARDS = np.array([7, 0, 5, 11, 1, 6])


def order(window=8, batch_size=6, steps=20, seed=3, shards=SHARDS, **options):
    return BatchOrder(int(shards.sum()), batch_size, steps, seed, window=window, shard_sizes=shards, **options)


@given(st.lists(st.integers(0, 9), min_size=1, max_size=8), st.integers(1, 40), st.integers(1, 12), st.integers(0, 3))
def test_every_epoch_sees_every_picture_once(sizes, window, batch_size, seed):
    shards = np.array([*sizes, 1])
    size = int(shards.sum())
    steps = -(-3 * size // batch_size)
    seen = [position for batch in order(window, batch_size, steps, seed, shards) for position in batch][: 3 * size]
    assert sorted(seen) == [(epoch, index) for epoch in range(3) for index in range(size)]


@pytest.mark.parametrize("start", [1, 4, 5, 13, 19])
def test_a_resumed_run_sees_the_same(start):
    assert list(order(start=start)) == list(order())[start:]


@pytest.mark.parametrize("world", [1, 2, 3, 6])
def test_ranks_share_the_same_batches(world):
    ranks = [list(order(rank=rank, world=world)) for rank in range(world)]
    for step, batch in enumerate(order()):
        assert sorted(position for rank in ranks for position in rank[step]) == sorted(batch)


def test_a_window_opens_few_shards():
    shards = np.full(50, 100)
    shuffle = WindowShuffle(shards, 300, seed=1)
    pictures = np.array([shuffle(0, place) for place in range(5000)])
    assert sorted(pictures) == list(range(5000))
    for begin in range(0, 5000, 300):
        assert len(np.unique(pictures[begin : begin + 300] // 100)) <= 4
    first, second = ([shuffle(epoch, place) // 100 for place in range(300)] for epoch in (0, 1))
    assert set(first) != set(second), "epochs begin with other shards"
    assert np.abs(np.diff(pictures[:300])).min() >= 1
    assert not np.array_equal(pictures[:300] % 100, np.sort(pictures[:300]) % 100), "and shuffle within a window"


def test_a_collection_without_shards_is_cut_into_chunks():
    """A folder is sorted by class: a window must not be one stretch of it."""
    whole = BatchOrder(4000, 160, 25, seed=0, window=160)
    for batch in whole:
        chunks = np.unique([index // 10 for _, index in batch])
        assert len(chunks) == 16
        assert chunks.max() - chunks.min() > 100
    assert sorted(index for batch in whole for _, index in batch) == list(range(4000))
    one = BatchOrder(4000, 160, 25, seed=0, window=160, shard_sizes=np.array([4000]))
    assert list(one) == list(whole), "a single shard is no order of shards"


def test_a_hundred_million_pictures():
    shards = np.full(10_000, 10_000)
    tracemalloc.start()
    began = time.perf_counter()
    big = BatchOrder(100_000_000, 4096, 1_000_000, 0, start=70_000, window=100_000, shard_sizes=shards)
    batches = [step for step, _ in zip(big, range(3), strict=False)]
    seconds, (_, peak) = time.perf_counter() - began, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len({position for batch in batches for position in batch}) == 3 * 4096
    assert seconds < 5
    assert peak < 50e6


class Sharded:
    """A source of digits, said to lie in shards."""

    def __new__(cls):
        source = open_source("digits:train")
        source.shard_sizes = np.array([400, 400, 400, 97])
        return source


def test_parts_of_a_collection_know_their_share_of_each_shard():
    source = Sharded()
    train, val = split(source, 0.2, seed=0)
    assert (train.shard_sizes + val.shard_sizes).tolist() == [400, 400, 400, 97]
    assert train.shard_sizes.sum() == len(train)
    few = few_per_class(train, 5, seed=0)
    assert few.shard_sizes.sum() == 50
    origins = np.array([few.origin(index) for index in range(50)])
    assert np.bincount(origins // 400, minlength=4).tolist() == few.shard_sizes.tolist()
    assert Subset(source, np.array([5, 3])).shard_sizes is None, "not in the order of the shards"


def test_a_split_is_still_read_shard_by_shard():
    train, _ = split(Sharded(), 0.2, seed=0)
    seen = BatchOrder(len(train), 100, 10, 0, window=100, shard_sizes=train.shard_sizes)
    for batch in seen:
        assert len({train.origin(index) // 400 for epoch, index in batch if epoch == 0}) <= 3, (
            "the last shard is smaller"
        )
