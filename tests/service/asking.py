"""Conversations with a service in one process."""

import asyncio
import re

import httpx

from beit.service import ServiceSettings, create_app
from tests.service.fake_predictor import FakePredictor
from tests.service.uploads import picture

NAMES = {0: "cat", 1: "dog", 2: "eel"}


def talk(app, conversation):
    """Hold a conversation with an application, in one event loop."""

    async def held():
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=30) as client:
            return await conversation(client)

    return asyncio.run(held())


def post(client, task, upload=None, **fields):
    files = {"file": ("picture", picture() if upload is None else upload)}
    return client.post(f"/v1/{task}", files=files, data={name: str(value) for name, value in fields.items()})


def ask(app, task, upload=None, **fields):
    return talk(app, lambda client: post(client, task, upload, **fields))


def fake_app(seconds=0.0, **limits):
    predictor = FakePredictor(seconds)
    return create_app({"fake": predictor}, ServiceSettings(**limits)), predictor


def refusal(answer):
    """Return the message of an error: one line without a path, a traceback, or a remedy that no client has."""
    assert set(answer.json()) == {"error"}, answer.text
    message = answer.json()["error"]["message"]
    assert "\n" not in answer.text
    assert message.isprintable()
    assert not any(word in message for word in ("Traceback", "/tmp", "/src", "<", ".py"))  # noqa: S108
    assert "its operator" in message or not re.search(r"--\w|\bdata\.\w|\bpip install\b", message), message
    return message
