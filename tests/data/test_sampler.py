"""The order of a run: complete, resumable, the same for any number of ranks, with and without a window."""

import threading
import time
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from beit.data import (
    PAIR,
    BatchOrder,
    Purpose,
    generator,
    sampler,
)
from beit.data.sampler import WholeShuffle, WindowShuffle
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


SHARDS = np.array([7, 0, 5, 11, 1, 6])


def order(window=8, batch_size=6, steps=20, seed=3, shards=SHARDS, **options):
    return BatchOrder(int(shards.sum()), batch_size, steps, seed, window=window, shard_sizes=shards, **options)


@given(st.lists(st.integers(0, 9), min_size=1, max_size=8), st.integers(1, 40), st.integers(1, 12), st.integers(0, 3))
def test_every_epoch_of_windows_sees_every_picture_once(sizes, window, batch_size, seed):
    shards = np.array([*sizes, 1])
    size = int(shards.sum())
    steps = -(-3 * size // batch_size)
    seen = [position for batch in order(window, batch_size, steps, seed, shards) for position in batch][: 3 * size]
    assert sorted(seen) == [(epoch, index) for epoch in range(3) for index in range(size)]


@pytest.mark.parametrize("start", [1, 4, 5, 13, 19])
def test_a_resumed_run_sees_the_same_windows(start):
    assert list(order(start=start)) == list(order())[start:]


@pytest.mark.parametrize("world", [1, 2, 3, 6])
def test_ranks_share_the_same_batches_of_windows(world):
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


@pytest.mark.parametrize("start", [0, 5, 8])
def test_the_next_order_is_made_beside_the_steps(monkeypatch, start):
    expected = list(BatchOrder(17, 5, 10, seed=3, start=start))
    made, new = [], WholeShuffle._new_permutation

    def noted(self, epoch):
        made.append((epoch, threading.current_thread() is threading.main_thread()))
        return new(self, epoch)

    monkeypatch.setattr(sampler, "_LARGE", 0)
    monkeypatch.setattr(WholeShuffle, "_new_permutation", noted)
    assert list(BatchOrder(17, 5, 10, seed=3, start=start)) == expected
    here = {0: 0, 5: 1, 8: 2}[start]  # the epoch that it begins in; there are three
    assert sorted(made) == [(here, True), *((epoch, False) for epoch in range(here + 1, 3))]
    for thread in [thread for thread in threading.enumerate() if thread.name.startswith("order")]:
        thread.join(10)
        assert not thread.is_alive(), "it ends with its order"


def test_few_pictures_need_no_thread(monkeypatch):
    monkeypatch.setattr(sampler, "ThreadPoolExecutor", lambda *given: pytest.fail("not needed"))
    assert len(list(BatchOrder(17, 5, 10, seed=3))) == 10


def test_ranks_that_would_share_a_pair():
    with pytest.raises(ConfigError, match=r"batch_size 6 is not a multiple of 4: pictures are mixed in pairs.*; use 4"):
        BatchOrder(17, 6, 1, seed=0, world=2, together=PAIR)


def test_streams_are_apart():
    draws = {generator(seed, purpose, epoch, index).random() for seed in range(3) for purpose in Purpose
             for epoch in range(3) for index in range(3)}  # fmt: skip
    assert len(draws) == 3 * len(Purpose) * 9
    assert generator(1, Purpose.MASK, 2, 3).random() == generator(1, Purpose.MASK, 2, 3).random()
    assert isinstance(generator(0, Purpose.VIEW), np.random.Generator)
