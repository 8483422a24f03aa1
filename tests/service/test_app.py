import re

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from beit.inference.page import BROWSER, FOLDER
from beit.service.app import mount_page

PARTS = sorted(path.name for path in FOLDER.iterdir())
SOURCES = [path for path in FOLDER.iterdir() if path.suffix in {".css", ".html", ".js"}]
STYLE = (FOLDER / "style.css").read_text()


@pytest.fixture
def client():
    app = FastAPI()
    mount_page(app)
    return TestClient(app, base_url="http://localhost")


def test_the_page_is_served_with_a_strict_policy(client):
    answer = client.get("/")
    policy = answer.headers["content-security-policy"]
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'self';" in policy
    assert "img-src 'self' data: blob:;" in policy
    assert "unsafe" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("name", PARTS)
def test_every_part_has_its_content_type_and_the_policy(client, name):
    answer = client.get(f"/page/{name}")
    kinds = {"css": "text/css", "html": "text/html", "js": "text/javascript", "svg": "image/svg+xml"}
    assert answer.status_code == 200
    assert answer.headers["content-type"].split(";")[0] == kinds[name.rsplit(".", 1)[1]]
    assert answer.content == (FOLDER / name).read_bytes()
    assert "default-src 'self'" in answer.headers["content-security-policy"]


@pytest.mark.parametrize("path", ["other.js", "../__init__.py", "..%2f__init__.py", "__init__.py", "static/app.js"])
def test_nothing_else_is_served(client, path):
    assert client.get(f"/page/{path}").status_code == 404


def test_every_part_that_is_named_exists():
    named = {
        name
        for path in SOURCES
        for name in re.findall(r"(?:page/|from \"\./|import\(\"\./)([\w-]+\.\w+)", path.read_text())
    }
    assert named <= set(PARTS)
    assert {"app.js", "style.css", "icon.svg", "grid.js"} <= named


@pytest.mark.parametrize("path", [*SOURCES, *BROWSER.iterdir()], ids=lambda path: path.name)
def test_no_part_names_another_origin_or_makes_html_of_data(path):
    text = path.read_text()
    assert not re.search(r"https?://|//cdn|innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", text)
    assert not re.search(r"<script(?! type=\"module\" src)| on\w+=| style=", text)


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize(
    ("ink", "ground", "least"),
    [
        ("text", "ground", 4.5),
        ("text", "sheet", 4.5),
        ("text", "tint", 4.5),
        ("quiet", "ground", 4.5),
        ("quiet", "sheet", 4.5),
        ("quiet", "tint", 4.5),
        ("accent", "sheet", 4.5),
        ("accent", "tint", 4.5),
        ("on-accent", "accent", 4.5),
        ("error", "error-ground", 4.5),
        ("control", "sheet", 3),
        ("control", "ground", 3),
    ],
)
def test_contrast_is_that_of_wcag_aa(scheme, ink, ground, least):
    def luminance(name):
        hexadecimal = re.findall(rf"--{name}: #([0-9a-f]{{6}});", STYLE)[scheme]
        levels = [int(hexadecimal[at : at + 2], 16) / 255 for at in (0, 2, 4)]
        linear = [level / 12.92 if level <= 0.04045 else ((level + 0.055) / 1.055) ** 2.4 for level in levels]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(ink), luminance(ground)))
    assert (high + 0.05) / (low + 0.05) >= least
