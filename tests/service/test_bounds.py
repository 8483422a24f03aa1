"""Work of one request: refused up front where it is too much, and ended where nobody waits for it."""

import asyncio
import logging
import threading
import time

import pytest
from PIL import Image

from beit.inference.runners.wanted import AbandonedError, check_wanted, given_up_when
from beit.models_torch.scene import SceneInference, segment_scene
from beit.models_torch.sliding_window import Windows
from beit.service.admission import return_memory
from beit.service.app import create_app
from beit.service.batcher import Batcher
from beit.settings.serve import ServiceSettings
from tests.service.asking import ask, fake_app, refusal
from tests.service.uploads import picture


def test_windows_are_counted_before_they_are_computed(predictors):
    how = predictors["streets"].scene
    counted = []
    model = predictors["streets"].runner.model
    segment_scene(model, Image.new("RGB", (100, 40)), how, lambda: counted.append(1))
    assert len(counted) >= how.windows_of(40, 100) > 1
    many = SceneInference(Windows((32, 32), (16, 16)), None, (1.0, 2.0), flip=True)
    assert many.windows_of(32, 64) == 2 * (3 + 3 * 7)


def test_a_picture_of_many_windows_is_refused_up_front(predictors):
    app = create_app({"streets": predictors["streets"]}, ServiceSettings(max_windows=2))
    upload = picture(size=(2000, 100))
    began = time.monotonic()
    answer = ask(app, "segment", upload)
    assert answer.status_code == 413
    assert "windows of the model; expected at most 2, send a smaller one" in refusal(answer)
    assert time.monotonic() - began < 5


def test_what_nobody_waits_for_ends():
    ended = threading.Event()

    def work():
        try:
            for _ in range(1000):
                check_wanted()
                time.sleep(0.01)
        except AbandonedError:
            ended.set()
            raise

    async def conversation():
        batcher = Batcher(1, 0.0, lambda _: None)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await batcher.alone(work)
        began = time.monotonic()
        assert await batcher.alone(lambda: 7) == 7  # the next one, at once
        batcher.close()
        return time.monotonic() - began

    assert asyncio.run(conversation()) < 2
    assert ended.is_set()


def test_the_scene_asks_between_its_parts(predictors):
    asked = []

    def once():
        asked.append(1)
        check_wanted()

    model, how = predictors["streets"].runner.model, SceneInference(Windows((32, 32), (8, 8)))
    with given_up_when(lambda: len(asked) >= 2), pytest.raises(AbandonedError):
        segment_scene(model, Image.new("RGB", (200, 200)), how, once)
    assert len(asked) == 2


def test_a_client_that_leaves_while_it_sends_is_one_quiet_line(caplog):
    app, _ = fake_app()
    messages = [{"type": "http.request", "body": b"--b\r\n", "more_body": True}, {"type": "http.disconnect"}]
    scope = {
        "type": "http", "method": "POST", "path": "/v1/classify", "raw_path": b"/v1/classify", "query_string": b"",
        "root_path": "", "scheme": "http", "http_version": "1.1", "server": ("localhost", 80), "client": ("a", 1),
        "headers": [(b"host", b"localhost"), (b"content-type", b"multipart/form-data; boundary=b")],
    }  # fmt: skip
    sent = []

    async def receive():
        return messages.pop(0) if messages else {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)

    with caplog.at_level(logging.INFO):
        asyncio.run(app(scope, receive, send))
    assert [record.exc_info for record in caplog.records] == [None]
    assert "left during its upload" in caplog.text
    assert sent == []


def test_memory_can_be_returned_anywhere():
    return_memory()
