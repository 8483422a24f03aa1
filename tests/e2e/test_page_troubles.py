"""The web page where something is missing or goes wrong."""

import threading

import pytest
from playwright.sync_api import expect

from tests.e2e.page_site import classifier, segmenter, served, small_copy

TOKEN = "sesame"  # noqa: S105  # opens nothing


@pytest.fixture(scope="module")
def pets():
    return {"pets": classifier()}


@pytest.fixture
def magpie(real_data, tmp_path):
    return small_copy(tmp_path, real_data / "imagenet_samples" / "n01582220_magpie.JPEG")


def test_the_policy_of_the_page_stands_on_the_service(visit, pets):
    with served(pets) as address:
        page = visit(address)
        headers = page.reload().headers
        assert headers["content-security-policy"].startswith("default-src 'self'; img-src 'self' data: blob:;")
        assert headers["content-type"] == "text/html; charset=utf-8"
        page.wait_for_load_state("networkidle")  # else the service may end before the page has all it asked for


def test_tabs_that_no_model_can_do_say_why(visit):
    with served({"streets": segmenter()}) as address:
        page = visit(address)
        expect(page.locator("#tab-segment")).to_have_attribute("aria-selected", "true")
        disabled = page.locator("#tab-classify")
        expect(disabled).to_have_attribute("aria-disabled", "true")
        expect(disabled).to_have_accessible_description("Classify: no loaded model has classes for pictures.")
        expect(disabled).to_have_attribute("title", "Classify: no loaded model has classes for pictures.")
        reasons = page.get_by_text("no loaded model").filter(visible=True)
        expect(reasons).to_have_count(0)
        disabled.click(force=True)
        expect(page.locator("#panel-classify")).to_be_hidden()
        expect(disabled).to_be_focused()
        expect(reasons).to_have_text(["Classify: no loaded model has classes for pictures."])
        page.keyboard.press("ArrowRight")
        expect(page.locator("#tab-segment")).to_be_focused()
        expect(reasons).to_have_count(0)
        page.keyboard.press("End")
        expect(reasons).to_have_text(["Reconstruct: no loaded model was pre-trained and has its tokenizer."])


def test_the_service_says_what_is_wrong_with_a_picture(visit, pets, magpie, tmp_path):
    broken = tmp_path / "<i>broken.png"
    broken.write_text("no picture")
    with served(pets) as address:
        page = visit(address, expected_errors=["400"])
        page.set_input_files("#file", broken)
        expect(page.get_by_role("alert")).to_contain_text("the file is not a picture that can be read; use PNG, JPEG")
        expect(page.locator("#file-name")).to_have_text("<i>broken.png")
        expect(page.locator("#preview")).to_be_hidden()
        expect(page.locator("#progress")).to_be_empty()
        expect(page.locator("#panel-classify .result")).to_be_hidden()
        page.set_input_files("#file", magpie)
        expect(page.locator("#panel-classify .result")).to_be_visible()
        expect(page.get_by_role("alert")).to_be_empty()
        expect(page.locator("#preview")).to_be_visible()


def test_a_service_that_went_away_is_reported(visit, pets, magpie):
    with served(pets) as address:
        page = visit(address, expected_errors=["ERR_CONNECTION_REFUSED"])
        expect(page.locator("#model")).to_be_enabled()
    page.set_input_files("#file", magpie)
    expect(page.get_by_role("alert")).to_contain_text("the service did not answer")


def test_a_service_that_still_loads_is_waited_for(visit, pets):
    loaded = threading.Event()

    def load():
        loaded.wait(60)
        return pets

    with served(load) as address:
        try:
            page = visit(address, expected_errors=["503"])
            expect(page.locator("#progress")).to_contain_text("loading")
        finally:
            loaded.set()
        expect(page.locator("#model option")).to_have_text(["pets"], timeout=15_000)
        expect(page.locator("#progress")).to_be_empty()


def test_the_token_is_asked_for_and_kept_for_the_tab_alone(visit, pets, magpie):
    with served(pets, token=TOKEN) as address:
        page = visit(address, expected_errors=["401"])
        page.get_by_label("Bearer token").fill("ключ")  # cannot stand in a header
        page.keyboard.press("Enter")
        expect(page.locator("#token-refused")).to_be_hidden()
        expect(page.locator("#token-dialog")).to_be_visible()
        page.get_by_label("Bearer token").fill("wrong")
        page.keyboard.press("Enter")
        expect(page.locator("#token-refused")).to_be_visible()
        page.get_by_label("Bearer token").fill(TOKEN)
        page.get_by_role("button", name="Use it").click()
        expect(page.locator("#model option")).to_have_text(["pets"])
        page.set_input_files("#file", magpie)
        expect(page.locator("#panel-classify .result")).to_be_visible()
        page.reload()
        expect(page.locator("#model option")).to_have_text(["pets"])
        expect(page.locator("#token-dialog")).to_be_hidden()
        assert page.evaluate("[localStorage.length, document.cookie]") == [0, ""]


@pytest.mark.parametrize("way", ["Escape", "Cancel"])
def test_giving_no_token_is_explained(visit, pets, way):
    with served(pets, token=TOKEN) as address:
        page = visit(address, expected_errors=["401"])
        expect(page.locator("#token-dialog")).to_be_visible()
        if way == "Escape":
            page.keyboard.press("Escape")
        else:
            page.get_by_role("button", name="Cancel").click()
        expect(page.get_by_role("alert")).to_contain_text("the service wants a bearer token")
