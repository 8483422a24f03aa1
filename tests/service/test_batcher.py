"""How requests of one model are put together."""

import asyncio
import threading
import time

import pytest

from beit.service.batcher import Batcher


def batched(held, max_batch=4, max_wait_s=0.05):
    """Run held(batcher) in a loop, and return what it returns with the sizes of all batches."""
    sizes = []

    async def run():
        batcher = Batcher(max_batch, max_wait_s, sizes.append)
        try:
            return await held(batcher)
        finally:
            batcher.close()

    return asyncio.run(run()), sizes


def double(values):
    return [2 * value for value in values]


def triple(values):
    return [3 * value for value in values]


def test_everybody_gets_the_own_result_in_batches_of_a_kind():
    async def held(batcher):
        computes = [double, triple]
        return await asyncio.gather(*(batcher.submit(computes[value % 2], value) for value in range(10)))

    results, sizes = batched(held)
    assert results == [(2, 3)[value % 2] * value for value in range(10)]
    assert sizes == [4, 4, 1, 1]


def test_a_single_one_waits_for_others_and_a_full_batch_does_not():
    async def seconds(batcher, count):
        began = time.perf_counter()
        await asyncio.gather(*(batcher.submit(double, value) for value in range(count)))
        return time.perf_counter() - began

    alone, sizes = batched(lambda batcher: seconds(batcher, 1), max_wait_s=0.3)
    assert (alone > 0.29, sizes) == (True, [1])
    together, sizes = batched(lambda batcher: seconds(batcher, 4), max_wait_s=5)
    assert (together < 2, sizes) == (True, [4])


def test_one_that_comes_in_time_goes_with_the_first():
    async def held(batcher):
        first = asyncio.create_task(batcher.submit(double, 1))
        await asyncio.sleep(0.05)
        return await batcher.submit(double, 2), await first

    assert batched(held, max_wait_s=1, max_batch=2) == ((4, 2), [2])


def test_what_is_cancelled_before_it_began_is_never_computed():
    computed, begun, go_on = [], threading.Event(), threading.Event()

    def slow(values):
        computed.extend(values)
        begun.set()
        assert go_on.wait(10)
        return values

    async def held(batcher):
        tasks = [asyncio.create_task(batcher.submit(slow, value)) for value in range(3)]
        await asyncio.to_thread(begun.wait, 10)
        tasks[0].cancel()  # begun: its result is thrown away
        tasks[1].cancel()
        await asyncio.sleep(0)
        go_on.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    results, sizes = batched(held, max_batch=1, max_wait_s=0)
    assert [type(result) for result in results] == [asyncio.CancelledError, asyncio.CancelledError, int]
    assert (computed, sizes) == ([0, 2], [1, 1])


def test_an_error_reaches_the_request_that_it_is_of_and_no_other():
    computed = []

    def fails_for_two(values):
        computed.append(values)
        if 2 in values:
            raise ValueError(f"no {values}")
        return values

    async def held(batcher):
        asked = [*(batcher.submit(fails_for_two, value) for value in (1, 2, 3)), batcher.submit(double, 3)]
        return await asyncio.gather(*asked, return_exceptions=True)

    results, sizes = batched(held)
    assert [str(result) for result in results] == ["1", "no [2]", "3", "6"]
    assert computed == [[1, 2, 3], [1], [2], [3]]
    assert sizes == [3, 1], "what is computed again is counted once"


def test_what_is_computed_alone_keeps_its_turn():
    order = []

    def note(values):
        order.append(list(values))
        return values

    async def held(batcher):
        asked = [batcher.submit(note, 1), batcher.alone(lambda: order.append("alone")), batcher.submit(note, 2)]
        return await asyncio.gather(*asked)

    assert batched(held, max_wait_s=0)[0] == [1, None, 2]
    assert order == [[1, 2], "alone"]


def test_a_batch_with_too_few_results_is_an_error():
    async def held(batcher):
        return await asyncio.gather(*(batcher.submit(lambda _: [], 1) for _ in range(1)), return_exceptions=True)

    results, _ = batched(held)
    with pytest.raises(ValueError, match="shorter"):
        raise results[0]
