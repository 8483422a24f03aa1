"""The web page in a real browser."""

import re
import shutil

import pytest

from tests.e2e.page_fake import MODELS, fake_app, served

sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install -e '.[dev]'")
expect = sync_api.expect
CHROMIUM = shutil.which("chromium")
TOKEN = "sesame"  # noqa: S105  # opens nothing
TASKS = ("classify", "segment", "attend", "reconstruct")

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs a browser: apt-get install chromium")


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def address():
    with served(fake_app()) as address:
        yield address


@pytest.fixture
def visit(browser):
    """Open an address; at the end the page must have kept to its origin, and its console must be clean."""
    opened = []

    def open_page(address, expected_errors=(), **options):
        page = browser.new_page(**options)
        problems = []
        page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on(
            "request",
            lambda request: (
                None
                if request.url.startswith((address, "blob:", "data:"))
                else problems.append(f"foreign request: {request.url}")
            ),
        )
        page.goto(address)
        opened.append((page, problems, expected_errors))
        return page

    yield open_page
    for page, problems, expected_errors in opened:
        page.close()
        assert [text for text in problems if not any(part in text for part in expected_errors)] == []


@pytest.fixture
def magpie(real_data):
    return real_data / "imagenet_samples" / "n01582220_magpie.JPEG"


def result(page, task):
    return page.locator(f"#panel-{task} .result")


def open_tab(page, task):
    page.locator(f"#tab-{task}").click()
    expect(result(page, task)).to_be_visible()


def pixels(page, selector):
    """Colours of a canvas, as a list of [r, g, b, a]."""
    return page.locator(selector).evaluate(
        "canvas => { const d = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;"
        " return [canvas.width, canvas.height, Array.from(d)]; }"
    )


def test_classes_are_shown_as_text_with_their_shares(visit, address, magpie):
    page = visit(address)
    page.set_input_files("#file", magpie)
    expect(page.locator(".bars li")).to_have_count(3)
    expect(page.locator(".bars .name").first).to_have_text("<b>cat</b>")
    expect(page.locator(".bars .percent")).to_have_text(["90 %", "8.0 %", "2.0 %"])
    expect(page.locator("#invitation")).to_be_hidden()
    widths = page.locator(".bars .bar").evaluate_all(
        "bars => bars.map(b => parseFloat(getComputedStyle(b, '::before').width) / b.clientWidth)"
    )
    assert widths == pytest.approx([0.9, 0.08, 0.02], abs=0.01)


def test_segments_are_named_under_the_pointer(visit, address, magpie):
    page = visit(address)
    page.set_input_files("#file", magpie)
    open_tab(page, "segment")
    stage = page.locator("#panel-segment .stage")
    box = stage.bounding_box()
    stage.hover(position={"x": 20, "y": 20})
    expect(page.locator(".pointed")).to_have_text("sky")
    stage.hover(position={"x": 20, "y": box["height"] - 20})
    expect(page.locator(".pointed")).to_have_text("road")
    expect(page.locator(".legend .name")).to_have_text(["road", "sky"])
    page.locator("#panel-segment .opacity").fill("0")
    expect(page.locator("#panel-segment .overlay")).to_have_css("opacity", "0")
    width, height, _ = pixels(page, "#panel-segment .picture")
    assert box["width"] / box["height"] == pytest.approx(width / height, rel=0.01)


def test_attention_of_a_patch_is_asked_for(visit, address, magpie):
    page = visit(address)
    page.set_input_files("#file", magpie)
    open_tab(page, "attend")
    expect(page.locator(".summary")).to_contain_text("The whole picture")
    before = pixels(page, ".heat")
    assert before[:2] == [8, 8]
    cell = page.locator("#panel-attend [role=gridcell]").nth(3 * 8 + 5)
    cell.click()
    expect(page.locator(".summary")).to_contain_text("The patch at row 4, column 6")
    expect(cell).to_have_attribute("aria-selected", "true")
    page.keyboard.press("ArrowDown")
    expect(page.locator(".summary")).to_contain_text("The patch at row 5, column 6")
    expect(page.locator(".head option")).to_have_count(4)
    page.select_option(".head", label="Head 2")
    assert pixels(page, ".heat") != before
    page.get_by_role("button", name="Attention of the whole picture").click()
    expect(page.locator(".summary")).to_contain_text("The whole picture")
    expect(page.locator("#panel-attend [aria-selected=true]")).to_have_count(0)


def test_a_mask_is_painted_and_sent(visit, address, magpie):
    page = visit(address)
    page.set_input_files("#file", magpie)
    open_tab(page, "reconstruct")
    expect(page.locator(".count")).to_have_text(re.compile("24 of 64 patches hidden"))
    page.get_by_role("button", name="Clear mask").click()
    expect(page.locator(".count")).to_have_text(re.compile("^0 of 64"))
    box = page.locator("#panel-reconstruct .patches").bounding_box()
    side = box["width"] / 8
    page.mouse.move(box["x"] + side / 2, box["y"] + side / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + 2.5 * side, box["y"] + side / 2, steps=10)
    page.mouse.up()
    page.mouse.move(box["x"] + 2.5 * side, box["y"] + 5 * side)
    expect(page.locator(".count")).to_have_text(re.compile("^3 of 64"))
    page.get_by_role("button", name="Reconstruct", exact=True).click()
    expect(page.locator("#progress")).to_be_empty()
    width, _, levels = pixels(page, ".masked")
    assert levels[4 * (4 * width + 4) :][:3] == [128, 128, 128]  # the fake's hidden patches are grey


def test_a_random_mask_hides_the_share_that_is_asked_for(visit, address, magpie):
    page = visit(address)
    page.set_input_files("#file", magpie)
    open_tab(page, "reconstruct")
    page.locator(".share").fill("50")
    expect(page.locator(".share-text")).to_have_text("50 %")
    page.get_by_role("button", name="Random mask").click()
    expect(page.locator(".count")).to_have_text(re.compile("^32 of 64"))


def test_touch_paints(visit, address, magpie):
    page = visit(address, has_touch=True, is_mobile=True, viewport={"width": 390, "height": 800})
    page.set_input_files("#file", magpie)
    page.locator("#tab-reconstruct").tap()
    expect(result(page, "reconstruct")).to_be_visible()
    page.get_by_role("button", name="Clear mask").tap()
    page.locator("#panel-reconstruct [role=gridcell]").nth(20).tap()
    expect(page.locator(".count")).to_have_text(re.compile("^1 of 64"))
    page.locator("#tab-segment").tap()
    page.locator("#panel-segment .stage").tap()
    expect(page.locator(".pointed")).not_to_be_empty()


def test_the_keyboard_alone_does_everything(visit, address, magpie):
    page = visit(address)
    expect(page.locator("#tab-classify")).to_have_attribute("aria-selected", "true")
    page.keyboard.press("Tab")
    expect(page.locator("#file")).to_be_focused()
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Space")
    chooser.value.set_files(magpie)
    expect(result(page, "classify")).to_be_visible()
    page.keyboard.press("Tab")
    expect(page.locator("#model")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.locator("#tab-classify")).to_be_focused()
    page.keyboard.press("ArrowRight")
    expect(result(page, "segment")).to_be_visible()
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowUp")
    expect(page.locator(".pointed")).to_have_text("sky")
    page.locator("#tab-segment").focus()
    page.keyboard.press("End")
    expect(result(page, "reconstruct")).to_be_visible()
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    expect(page.locator("#panel-reconstruct [role=gridcell]").first).to_be_focused()
    count = page.locator(".count")
    page.keyboard.press("Space")
    expect(count).to_have_text(re.compile("^25 of 64"))
    page.keyboard.press("Shift+ArrowDown")
    expect(count).to_have_text(re.compile("^26 of 64"))
    page.keyboard.press("Control+End")
    expect(page.locator("#panel-reconstruct [role=gridcell]").last).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator("#progress")).to_be_empty()
    expect(count).to_have_text(re.compile("^26 of 64"))
    page.locator("#tab-reconstruct").focus()
    page.keyboard.press("Home")
    expect(result(page, "classify")).to_be_visible()


@pytest.mark.parametrize("way", ["drop", "paste"])
def test_pictures_are_dropped_and_pasted(visit, address, magpie, way):
    page = visit(address)
    expect(page.locator("#model")).to_be_enabled()
    page.evaluate(
        """([way, numbers]) => {
            const transfer = new DataTransfer();
            transfer.items.add(new File([new Uint8Array(numbers)], "magpie.jpg", { type: "image/jpeg" }));
            document.body.dispatchEvent(way === "drop"
                ? new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true })
                : new ClipboardEvent("paste", { clipboardData: transfer, bubbles: true }));
        }""",
        [way, list(magpie.read_bytes())],
    )
    expect(result(page, "classify")).to_be_visible()
    expect(page.locator("#file-name")).to_have_text("magpie.jpg")


def test_tabs_that_no_model_can_do_say_why(visit):
    with served(fake_app(models=MODELS[1:2])) as address:
        page = visit(address)
        expect(page.locator("#tab-segment")).to_have_attribute("aria-selected", "true")
        disabled = page.locator("#tab-classify")
        expect(disabled).to_have_attribute("aria-disabled", "true")
        expect(disabled).to_have_accessible_description("Classify: no loaded model has classes for pictures.")
        expect(page.locator("#reasons li")).to_have_count(2)
        disabled.click(force=True)
        expect(page.locator("#panel-classify")).to_be_hidden()
        expect(disabled).to_be_focused()


def test_an_error_of_the_service_is_shown_as_text(visit, magpie):
    with served(fake_app(refusal=(422, "picture <i>x</i> is 3 pixels high; expected at least 16"))) as address:
        page = visit(address, expected_errors=["422"])
        page.set_input_files("#file", magpie)
        alert = page.get_by_role("alert")
        expect(alert).to_have_text("picture <i>x</i> is 3 pixels high; expected at least 16")
        expect(page.locator("#progress")).to_be_empty()
        expect(result(page, "classify")).to_be_hidden()


def test_a_service_that_went_away_is_reported(visit, magpie):
    with served(fake_app()) as address:
        page = visit(address, expected_errors=["ERR_CONNECTION_REFUSED"])
        expect(page.locator("#model")).to_be_enabled()
    page.set_input_files("#file", magpie)
    expect(page.get_by_role("alert")).to_contain_text("the service did not answer")


def test_the_token_is_asked_for_and_sent(visit, magpie):
    with served(fake_app(token=TOKEN)) as address:
        page = visit(address, expected_errors=["401"])
        page.get_by_label("Bearer token").fill("wrong")
        page.keyboard.press("Enter")
        expect(page.locator("#token-refused")).to_be_visible()
        page.get_by_label("Bearer token").fill(TOKEN)
        page.get_by_role("button", name="Use it").click()
        expect(page.locator("#model option")).to_have_text(["pets"])
        page.set_input_files("#file", magpie)
        expect(result(page, "classify")).to_be_visible()
        page.reload()
        expect(page.locator("#model option")).to_have_text(["pets"])
        expect(page.locator("#token-dialog")).to_be_hidden()
        assert page.evaluate("[localStorage.length, document.cookie]") == [0, ""]


def test_giving_no_token_is_explained(visit):
    with served(fake_app(token=TOKEN)) as address:
        page = visit(address, expected_errors=["401"])
        expect(page.locator("#token-dialog")).to_be_visible()
        page.keyboard.press("Escape")
        expect(page.get_by_role("alert")).to_contain_text("the service wants a bearer token")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_of_320_pixels_needs_no_sideways_scrolling(visit, address, magpie, scheme):
    page = visit(address, viewport={"width": 320, "height": 640}, color_scheme=scheme)
    page.set_input_files("#file", magpie)
    for task in TASKS:
        open_tab(page, task)
        assert page.evaluate("document.documentElement.scrollWidth") == 320, task


def test_motion_and_schemes_follow_the_user(visit, address):
    still = visit(address, reduced_motion="reduce", color_scheme="dark")
    moving = visit(address, color_scheme="light")
    turning = (
        "() => { const p = document.querySelector('#progress'); p.classList.add('running'); p.textContent = 'x';"
        " return getComputedStyle(p, '::before').animationName; }"
    )
    assert still.evaluate(turning) == "none"
    assert moving.evaluate(turning) == "turn"
    ground = "getComputedStyle(document.body).backgroundColor"
    assert still.evaluate(ground) != moving.evaluate(ground)
