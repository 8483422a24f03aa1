"""The site builds without a warning, and what it shows comes from itself."""

import os
import re
import subprocess
import sys

import pytest
from playwright.sync_api import expect

from tests.browser import started_chromium
from tests.docs.blocks import ROOT

pytestmark = [pytest.mark.docs, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    place = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", place / "site"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=580)
    assert done.returncode == 0, done.stderr[-4000:]
    assert "WARNING" not in done.stderr
    return place / "site"


def test_it_has_every_page(site):
    pages = [path.relative_to(ROOT / "docs").with_suffix(".html") for path in (ROOT / "docs").rglob("*.md")]
    assert [page for page in pages if not (site / page).is_file()] == []


def test_it_fetches_nothing_from_elsewhere(site):
    """Scripts, styles, pictures and fonts are its own; links may lead out."""
    loaded = re.compile(r"<(?:script|img|iframe|source)\b[^>]*\bsrc=\"?(https?:[^\" >]+)"
                        r"|<link\b(?![^>]*rel=\"?canonical)[^>]*\bhref=\"?(https?:[^\" >]+)")  # fmt: skip
    for page in site.rglob("*.html"):
        assert loaded.findall(page.read_text()) == [], page
    for style in site.rglob("*.css"):
        assert not re.search(r"url\(['\"]?https?:|@import", style.read_text()), style


def test_the_reference_is_not_empty(site):
    assert "from_pretrained" in (site / "reference/torch.html").read_text()
    assert "--mask.min_block" in (site / "reference/cli.html").read_text()


def test_sources_of_programs_stay_outside(site):
    assert [path.name for path in site.rglob("*.py")] == []


def test_links_of_the_built_pages_resolve(site):
    """Also those that mkdocs does not check: into other folders, and to anchors that docstrings make."""
    identifiers = {page: set(re.findall(r"\bid=\"?([^\" >]+)", page.read_text())) for page in site.rglob("*.html")}
    for page in identifiers:
        if page.name == "404.html":
            continue
        for link in re.findall(r"<a\b[^>]*\bhref=\"?([^\" >]+)", page.read_text()):
            file, _, anchor = link.partition("#")
            if ":" in file:
                continue
            target = (page.parent / file).resolve() if file else page
            target = target / "index.html" if target.is_dir() else target
            assert target.exists(), f"{page}: {link}"
            if anchor and target in identifiers:
                assert anchor in identifiers[target], f"{page}: {link}"


@pytest.fixture(scope="module")
def chromium():
    with started_chromium() as browser:
        yield browser


def test_the_search_works_from_a_disk(site, chromium):
    page = chromium.new_page()
    requests = []
    page.on("request", lambda request: requests.append(request.url))
    page.goto((site / "index.html").as_uri())
    page.click(".md-search__input")
    page.keyboard.type("tokenizer")
    expect(page.locator(".md-search-result__item").first).to_contain_text("okenizer", timeout=60_000)
    assert [url for url in requests if not url.startswith(("file:", "data:", "blob:"))] == []
    page.close()


def test_no_code_is_clipped_at_1400_pixels(site, chromium):
    page = chromium.new_page(viewport={"width": 1400, "height": 900})
    clipped = {}
    for file in sorted(site.rglob("*.html")):
        page.goto(file.as_uri(), wait_until="domcontentloaded")
        found = page.locator("pre, pre > code").evaluate_all(
            "blocks => blocks.filter(block => block.scrollWidth > block.clientWidth).map(block => block.textContent)"
        )
        if found:
            clipped[str(file.relative_to(site))] = found
    page.close()
    assert clipped == {}


def test_tables_have_all_their_columns_in_sight_at_1400_pixels(site, chromium):
    page = chromium.new_page(viewport={"width": 1400, "height": 900})
    beyond, seen = {}, 0
    for file in sorted(site.rglob("*.html")):
        page.goto(file.as_uri(), wait_until="domcontentloaded")
        widths = page.locator("article table:not([class])").evaluate_all(
            "tables => tables.map(table => table.scrollWidth - table.closest('article').clientWidth)"
        )
        seen += len(widths)
        if max(widths, default=0) > 1:
            beyond[str(file.relative_to(site))] = max(widths)
    page.close()
    assert seen > 50
    assert beyond == {}


def test_a_model_of_the_package_runs_in_it(site):
    assert 'href="try/index.html"' in (site / "index.html").read_text()
    assert 'href="../try/index.html"' in (site / "tutorials/serve.html").read_text()
    assert (site / "try/model/fp32.onnx").is_file()
