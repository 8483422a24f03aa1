"""Batches are bitwise the same whatever loads them, wherever the pictures lie; the run decides when a worker stops."""

import multiprocessing
import os
import sys
import time
from multiprocessing.reduction import ForkingPickler

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data._utils.pin_memory import pin_memory

from beit.data import (
    PAIR,
    Augmentation,
    BatchOrder,
    Collate,
    MaskPlan,
    RandAugment,
    ViewDataset,
    Views,
    loading_workers,
    open_source,
    require_whole,
    split,
    training_batches,
)
from beit.errors import BeitError, DataError
from beit.geometry import Grid
from beit.image import Preprocessing
from tests.shards import write_parquet, write_shards

VIEWS = Views(Preprocessing((16, 16), (18, 18)), Augmentation(color_jitter=0.4), (8, 8))


STEPS, BATCH_SIZE = 6, 8


@pytest.fixture(params=["folder", "parquet", "tar"])
def source(request, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    place = tmp_path / "pictures"
    if request.param == "tar":
        write_shards(place)
    elif request.param == "parquet":
        monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "datasets")
        write_parquet(place)
    else:
        place.mkdir()
        rng = np.random.default_rng(0)
        for number in range(40):
            pixels = rng.integers(0, 256, (20, 24, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(place / f"{number:02d}.{'jpg' if number % 2 else 'png'}")
    return open_source(str(place))


def batches(source, window, workers=0, start=0, rank=0, world=1):
    train, _ = split(source, 0.1, seed=1)
    dataset = ViewDataset(train, VIEWS, seed=5, replace_broken=True)
    order = BatchOrder(len(train), BATCH_SIZE, STEPS, 5, start, rank, world, window, dataset.shard_sizes)
    return list(training_batches(dataset, order, Collate(5, MaskPlan(Grid(4, 4), count=6, min_block=2)), workers))


def assert_same(ours, theirs):
    for one, other in zip(ours, theirs, strict=True):
        assert one.indices == other.indices
        assert one.tensors.keys() == other.tensors.keys()
        assert all(torch.equal(tensor, other.tensors[name]) for name, tensor in one.tensors.items())


@pytest.mark.e2e
@pytest.mark.parametrize("window", [None, 12])
def test_workers_ranks_and_resumes(source, window):
    alone = batches(source, window)
    assert len({index for batch in alone[:4] for index in batch.indices}) == 32
    for workers in (1, 2):
        assert_same(batches(source, window, workers), alone)
    for start in (1, 3, 5):
        assert_same(batches(source, window, start=start), alone[start:])
    assert_same(batches(source, window, workers=2, start=4), alone[4:])
    for world in (2, 4):
        ranks = [batches(source, window, rank=rank, world=world) for rank in range(world)]
        for step, whole in enumerate(alone):
            assert sorted(pair for rank in ranks for pair in shown(rank[step])) == sorted(shown(whole))


def shown(batch):
    """The pictures of a batch with their pixels; one may be there for two epochs."""
    pixels = batch.tensors["pixel_values"].numpy()
    return [(index, view.tobytes()) for index, view in zip(batch.indices, pixels, strict=True)]


def test_a_window_is_another_order_of_the_same_pictures(source):
    whole, windowed = batches(source, None), batches(source, 12)
    assert [batch.indices for batch in whole] != [batch.indices for batch in windowed]
    seen = [[index for batch in one for index in batch.indices][:36] for one in (whole, windowed)]
    assert sorted(seen[0]) == sorted(seen[1]) == list(range(36))


FULL = Augmentation(rand_augment=RandAugment(), erase=0.5)


def test_batches_with_everything_on_do_not_depend_on_workers(pictures):
    def batches(workers):
        dataset = ViewDataset(open_source(str(pictures)), Views(Preprocessing((32, 32), 36), FULL), 5, True)
        return list(training_batches(dataset, BatchOrder(len(dataset), 4, 6, 5, together=PAIR), Collate(5), workers))

    alone = batches(0)
    for workers in (1, 2):
        for one, other in zip(alone, batches(workers), strict=True):
            assert one.indices == other.indices
            assert torch.equal(one.tensors["pixel_values"], other.tensors["pixel_values"])


def test_batches_are_pinned_for_a_gpu(pictures, monkeypatch):
    """A copy from memory that is not page-locked waits for the GPU, whatever `non_blocking` says."""
    dataset = ViewDataset(open_source(str(pictures)), Views(Preprocessing((8, 8), 8)), 0, True)
    [batch] = training_batches(dataset, [[(0, 0), (0, 1)]], Collate(0), 0)
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: tensor + 1)  # there is no GPU here
    pinned = pin_memory(batch)
    assert pinned.tensors.keys() == batch.tensors.keys()
    assert all(torch.equal(tensor, batch.tensors[name] + 1) for name, tensor in pinned.tensors.items())
    assert (pinned.indices, pinned.broken) == (batch.indices, batch.broken)


@pytest.fixture
def python_3_14():
    """Begin processes as that version does where nothing else is said."""
    before = multiprocessing.get_start_method()
    multiprocessing.set_start_method("forkserver", force=True)
    yield
    multiprocessing.set_start_method(before, force=True)


@pytest.mark.e2e
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a forked process may not do what is needed")
@pytest.mark.usefixtures("python_3_14")
def test_workers_share_what_the_run_holds(pictures, monkeypatch):
    """None gets a copy of millions of paths, or of the pictures that are kept decoded."""
    dataset = ViewDataset(open_source(str(pictures)), Views(Preprocessing((8, 8), 8)), 0, True)
    monkeypatch.setattr(ViewDataset, "__reduce_ex__", lambda *_: pytest.fail("copied"))
    for workers in (0, 1):
        [batch] = training_batches(dataset, [[(0, 0), (0, 1)]], Collate(0), workers)
        assert batch.indices == [0, 1]


@pytest.mark.parametrize(
    ("share", "busy", "workers"), [(8, 1, 7), (8, 4, 4), (8, 8, 1), (1, 1, 1), (64, 1, 16), (4, 0, 4)]
)
def test_what_computing_leaves_loads_pictures(monkeypatch, share, busy, workers):
    monkeypatch.setattr("beit.data.loader.cpu_share", lambda: share)
    assert loading_workers("auto", busy) == workers
    assert loading_workers(3, busy) == 3


def test_a_batch_that_lacks_pictures_is_not_trained_on(pictures, monkeypatch):
    """Others take the place of broken ones, as long as there are any."""
    monkeypatch.setattr("beit.data.dataset.MOST_REPLACEMENTS", 2)
    source = open_source(str(pictures))
    dataset = ViewDataset(source, VIEWS, seed=0, replace_broken=True)
    (batch,) = training_batches(dataset, [[(0, 0), (0, 3)]], Collate(0), 0)
    require_whole(batch)
    for number in (3, 4):
        (pictures / "cat" / f"{number}.png").write_bytes(b"no picture")
    (batch,) = training_batches(dataset, [[(0, 0), (0, 3)]], Collate(0), 0)
    with pytest.raises(DataError, match=r"1 of the 2 pictures of a batch cannot be used, .*3\.png is not a picture"):
        require_whole(batch)


@pytest.mark.e2e
def test_a_loading_process_that_is_killed_is_named(pictures):
    """By the batch that is asked for next, and not wherever the run is then, as in the middle of a step."""
    dataset = ViewDataset(open_source(str(pictures)), VIEWS, seed=0, replace_broken=True)
    batches = iter(training_batches(dataset, [[(epoch, 0)] for epoch in range(500)], Collate(0), 1))
    next(batches)
    (worker,) = multiprocessing.active_children()
    worker.kill()
    for _ in range(1000):
        time.sleep(0.0001)
    with pytest.raises(BeitError, match=r"a process that loads pictures was lost .*; lower data\.workers or"):
        list(batches)


@pytest.mark.skipif(sys.platform != "linux", reason="processes that are forked")
def test_a_batch_that_cannot_be_handed_over_ends_the_run(pictures, monkeypatch):
    """Where /dev/shm is full the run would wait for it forever."""

    run, dumps = os.getpid(), ForkingPickler.dumps

    def full(*given):
        if os.getpid() == run:
            return dumps(*given)
        raise RuntimeError("unable to allocate shared memory: No space left on device")

    monkeypatch.setattr(ForkingPickler, "dumps", full)
    dataset = ViewDataset(open_source(str(pictures)), VIEWS, seed=0, replace_broken=True)
    batches = training_batches(dataset, [[(0, 0)]], Collate(0), 1)
    with pytest.raises(BeitError, match="a process that loads pictures was lost"):
        list(batches)
