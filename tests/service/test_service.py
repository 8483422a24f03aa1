"""The HTTP service under load and in trouble: batches, queues, tokens, metrics, limits, headers."""

import asyncio

import pytest
from pydantic import ValidationError

from beit.service import ServiceSettings, create_app
from tests.service.asking import ask, fake_app, post, refusal, talk
from tests.service.uploads import picture


def test_requests_are_computed_together_in_one_thread():
    app, predictor = fake_app(0.1, batch_size=4, max_wait_ms=50)

    async def conversation(client):
        return await asyncio.gather(
            *(post(client, "classify", picture(seed), top_k=1 + seed % 2) for seed in range(10))
        )

    answers = talk(app, conversation)
    assert [len(answer.json()["predictions"]) for answer in answers] == [1, 2] * 5
    assert sum(predictor.runner.batches) == 10
    assert max(predictor.runner.batches) == 4
    assert len(predictor.runner.batches) <= 5
    assert len(predictor.runner.threads) == 1
    alone = ask(fake_app()[0], "classify", picture(7)).json()
    assert answers[7].json()["predictions"][0]["probability"] == pytest.approx(alone["predictions"][0]["probability"])


def test_a_full_queue_sends_away_at_once():
    app, predictor = fake_app(0.2, queue=3, batch_size=1)

    async def conversation(client):
        return await asyncio.gather(*(post(client, "classify") for _ in range(12)))

    answers = talk(app, conversation)
    statuses = [answer.status_code for answer in answers]
    assert statuses.count(200) == 3
    assert statuses.count(429) == 9
    sent_away = next(answer for answer in answers if answer.status_code == 429)
    assert sent_away.headers["Retry-After"] == "1"
    assert "3 requests wait already" in refusal(sent_away)
    assert len(predictor.runner.batches) == 3
    assert ask(app, "classify").status_code == 200


@pytest.mark.e2e
def test_what_takes_too_long_is_given_up_and_what_waits_is_dropped():
    app, predictor = fake_app(0.5, batch_size=1, timeout_s=0.25)

    async def conversation(client):
        answers = await asyncio.gather(*(post(client, "classify") for _ in range(4)))
        await asyncio.sleep(0.6)
        return answers

    answers = talk(app, conversation)
    computed, *waited = sorted(answers, key=lambda answer: -answer.status_code)  # any of them may have been the first
    assert (computed.status_code, {answer.status_code for answer in waited}) == (504, {503})
    assert "no result within 0.25 s" in refusal(computed)
    assert predictor.runner.batches == [1]  # the one that had begun
    assert app.state.service.admission.computing == 0


def test_a_failing_model_reveals_nothing_of_itself(caplog):
    app, predictor = fake_app()
    predictor.runner.seconds = "fail"
    answer = ask(app, "classify")
    assert answer.status_code == 500
    assert refusal(answer) == "the service failed on this request; its log says why"
    assert "TypeError" in caplog.text
    predictor.runner.seconds = 0
    assert ask(app, "classify").status_code == 200


def test_only_who_knows_the_token_is_answered():
    app, _ = fake_app(token="s3cret")  # noqa: S106

    async def statuses(client, shown):
        headers = {} if shown is None else {"Authorization": shown}
        asked = [await client.get(path, headers=headers) for path in ("/v1/models", "/metrics")]
        asked.append(await client.post("/v1/classify", files={"file": picture()}, headers=headers))
        return asked

    for shown in (None, "s3cret", "Bearer", "Bearer s3cre", "Bearer s3crett", "Basic s3cret", "Bearer "):
        for answer in talk(app, lambda client, shown=shown: statuses(client, shown)):
            assert answer.status_code == 401
            assert answer.headers["WWW-Authenticate"] == "Bearer"
            assert "s3cret" not in refusal(answer)
    assert [each.status_code for each in talk(app, lambda client: statuses(client, "Bearer s3cret"))] == [200] * 3
    assert talk(app, lambda client: client.get("/healthz")).status_code == 200
    assert "s3cret" not in repr(app.state.service.settings)


def test_a_service_that_loads_or_stops():
    app, _ = fake_app()
    empty = create_app(dict)
    assert talk(empty, lambda client: client.get("/healthz")).status_code == 200
    assert talk(empty, lambda client: client.get("/readyz")).status_code == 503
    loading = ask(empty, "classify")
    assert loading.status_code == 503
    assert "still being loaded" in refusal(loading)
    assert talk(app, lambda client: client.get("/readyz")).json() == {"status": "ready"}
    app.state.service.admission.stopping = True
    assert talk(app, lambda client: client.get("/readyz")).status_code == 503
    assert talk(app, lambda client: client.get("/healthz")).status_code == 200
    assert "the service is stopping" in refusal(ask(app, "classify"))


def test_metrics_count_requests_batches_and_time():
    app, _ = fake_app()
    for _ in range(3):
        ask(app, "classify")
    ask(app, "classify", b"text")
    for number in range(5):
        ask(app, f"invented_{number}")
    text = talk(app, lambda client: client.get("/metrics")).text
    assert 'beit_requests_total{route="/v1/classify",status="200"} 3.0' in text
    assert 'beit_requests_total{route="/v1/classify",status="400"} 1.0' in text
    assert 'beit_requests_total{route="other",status="404"} 5.0' in text
    assert 'beit_batch_size_sum{model="fake"} 3.0' in text
    assert 'beit_request_seconds_count{route="/v1/classify"} 4.0' in text
    assert "beit_queue_depth 0.0" in text
    assert "invented" not in text


def test_every_answer_has_security_headers_and_none_invites_other_sites():
    app, _ = fake_app()
    for path in ("/healthz", "/v1/models", "/nothing", "/openapi.json"):
        headers = talk(app, lambda client, path=path: client.get(path, headers={"Origin": "http://evil"})).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
        assert headers["X-Frame-Options"] == "DENY"
        assert not [name for name in headers if name.lower().startswith("access-control")]


def test_the_page_is_there_with_a_policy_of_its_own_and_without_a_token():
    app, _ = fake_app(token="s3cret")  # noqa: S106
    page = talk(app, lambda client: client.get("/"))
    assert page.status_code == 200
    assert page.headers["Content-Type"].startswith("text/html")
    assert "default-src 'self'" in page.headers["Content-Security-Policy"]
    assert page.headers["X-Frame-Options"] == "DENY"
    assert page.headers["Cache-Control"] == "no-cache"


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"batch_size": 0}, "batch_size\n.*greater than or equal to 1"),
        ({"queue": 0}, "queue\n.*greater than or equal to 1"),
        ({"timeout_s": 0}, "timeout_s\n.*greater than 0"),
        ({"max_wait_ms": -1}, "max_wait_ms\n.*greater than or equal to 0"),
        ({"token": ""}, "the token is empty"),
        ({"max_upload_mb": float("nan")}, "max_upload_mb\n.*finite number"),
    ],
)
def test_limits_that_cannot_work(limits, message):
    with pytest.raises(ValidationError, match=message):
        ServiceSettings(**limits)
