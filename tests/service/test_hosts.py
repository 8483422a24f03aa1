"""Hosts and origins: pages of other sites are refused, whoever else asks is answered."""

import asyncio

import httpx
import pytest

from beit.service.app import create_app
from beit.settings.serve import ServiceSettings
from tests.service.asking import fake_app, refusal
from tests.service.uploads import picture


def status(app, path="/v1/tasks", **headers):
    async def ask():
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost:8000") as client:
            return (await client.get(path, headers=headers)).status_code

    return asyncio.run(ask())


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:8000", "127.0.0.1:9", "[::1]:8000", "192.168.1.7", "pets.example:80"]
)
def test_known_hosts(host):
    assert status(fake_app(allowed_hosts=("pets.example",))[0], host=host) == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example:8000", "evil.example:localhost", "[", "a@localhost b"]
)
def test_other_names_are_refused(host):
    assert status(fake_app()[0], host=host) == 421
    assert status(fake_app(allowed_hosts=("*",))[0], host=host) == 200
    assert status(fake_app()[0], path="/healthz", host=host) == 200


@pytest.mark.parametrize(
    ("origin", "expected"),
    [
        ("http://localhost:8000", 200), ("http://localhost:3000", 200), ("https://pets.example", 200),
        ("https://evil.example", 403), ("null", 403), ("http://127.0.0.1.evil.example", 403), ("http://10.0.0.1", 403),
    ],
)  # fmt: skip
def test_origins(origin, expected):
    assert status(fake_app(allowed_hosts=("pets.example",))[0], origin=origin) == expected


def test_a_form_of_another_site_is_not_computed():
    app = fake_app()[0]

    async def ask():
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await client.post(
                "/v1/classify", files={"file": picture()}, headers={"origin": "https://evil.example"}
            )

    answer = asyncio.run(ask())
    assert answer.status_code == 403
    assert "another site; open the service's own page" in refusal(answer)


def test_the_default_allows_no_names():
    assert ServiceSettings().allowed_hosts == ()
    assert callable(create_app)
