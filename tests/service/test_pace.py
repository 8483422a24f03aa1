"""Pace of a service: requests that would hardly be answered in time are refused before they wait."""

import asyncio
from time import perf_counter

import pytest

from beit.service.pace import Pace, Turn
from tests.service.asking import ask, fake_app, post, refusal, talk

CLASSIFY, SEGMENT = ("pets", "classify"), ("streets", "segment")


def test_the_wait_is_that_of_all_under_way():
    pace = Pace(2)
    with pace.under_way(CLASSIFY, Turn(0.0)):
        assert pace.wait("pets") == 0  # nothing is known yet
    pace.computed(CLASSIFY, 0.5)
    pace.computed(SEGMENT, 4.0)
    with pace.under_way(CLASSIFY, Turn(0.0)), pace.under_way(CLASSIFY, Turn(0.0)), pace.under_way(SEGMENT, Turn(0.0)):
        assert pace.wait("pets") == pytest.approx(1.0)
        assert pace.wait("streets") == pytest.approx(4.0)
    assert pace.wait("pets") == pace.wait("streets") == 0


def test_threads_are_shared_by_all_models():
    pace = Pace(2)
    with pace.under_way(SEGMENT, Turn(0.0, handled=6.0)):
        pass
    with pace.under_way(SEGMENT, Turn(0.0)):
        assert pace.wait("pets") == pytest.approx(3.0)


def test_the_pace_follows_the_latest_requests():
    pace = Pace(1)
    for seconds in [10.0, *[0.1] * 40]:
        pace.computed(CLASSIFY, seconds)
    with pace.under_way(CLASSIFY, Turn(0.0)):
        assert pace.wait("pets") == pytest.approx(0.1, rel=0.1)


def test_a_long_wait_is_no_long_computation():
    now = perf_counter()
    assert Turn(now - 10).waited_longer
    assert Turn(now - 10, now - 1).waited_longer
    assert not Turn(now - 10, now - 9).waited_longer


@pytest.mark.e2e
def test_requests_that_would_wait_too_long_are_refused_up_front():
    app, predictor = fake_app(0.2, batch_size=1, timeout_s=2.0)

    async def conversation(client):
        assert (await post(client, "classify")).status_code == 200  # which shows how long one takes
        began = perf_counter()

        async def timed():
            return await post(client, "classify"), perf_counter() - began

        return await asyncio.gather(*(timed() for _ in range(30)))

    answers = talk(app, conversation)
    statuses = [answer.status_code for answer, _ in answers]
    assert set(statuses) == {200, 503}
    assert 1 <= statuses.count(200) <= 9
    refused, seconds = next((answer, seconds) for answer, seconds in answers if answer.status_code == 503)
    assert seconds < 2.0
    assert int(refused.headers["Retry-After"]) >= 1
    assert "what waits already takes" in refusal(refused)
    assert len(predictor.runner.batches) == 1 + statuses.count(200)
    assert ask(app, "classify").status_code == 200
