import json

import pytest

from tests.browser import started_chromium
from tests.fork_server import fork_server as fork_server_of


@pytest.fixture(scope="session")
def fork_server():
    return fork_server_of()


@pytest.fixture(scope="module")  # no longer: while playwright runs, other tests cannot start an event loop
def chromium():
    with started_chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def context_of(chromium):
    """Browser contexts by their options: a tab in one that is open starts in half of the time."""
    kept = {}

    def context(**options):
        key = json.dumps(options, sort_keys=True)
        if key not in kept:
            kept[key] = chromium.new_context(**options)
        return kept[key]

    return context


@pytest.fixture
def visit(chromium, context_of):
    """Open an address; at the end the page must have kept to its origin, and its console must be clean.

    A page that is `alone` has a context of its own, with nothing in its cache.
    """
    opened = []

    def open_page(address, expected_errors=(), alone=False, **options):
        page = chromium.new_page(**options) if alone else context_of(**options).new_page()
        problems = []

        def check_origin(request):
            if not request.url.startswith((f"{address}/", "blob:", "data:")):
                problems.append(f"request to another origin: {request.url}")

        page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("request", check_origin)
        page.goto(f"{address}/")
        opened.append((page, problems, expected_errors))
        return page

    yield open_page
    for page, problems, expected_errors in opened:
        page.close()
        assert [text for text in problems if not any(part in text for part in expected_errors)] == []
