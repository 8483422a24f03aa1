"""A browser without a window, for the tests of pages."""

import os
import shutil
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright


@contextmanager
def started_chromium():
    """A browser; without one the tests are skipped, or fail where BEIT_REQUIRE_BROWSER is set."""
    with sync_playwright() as running:
        program = shutil.which("chromium") or running.chromium.executable_path  # of the system, or playwright's own
        if not Path(program).exists():
            give_up = pytest.fail if os.environ.get("BEIT_REQUIRE_BROWSER") else pytest.skip
            give_up("needs a browser: apt-get install chromium, or playwright install chromium")
        browser = running.chromium.launch(executable_path=program)
        yield browser
        browser.close()
