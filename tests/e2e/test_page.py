"""The web page in a real browser, in front of real models: each tab does its job, in every way that it can be used."""

import io
import re

import numpy as np
import pytest
from PIL import ExifTags, Image
from playwright.sync_api import expect

from tests.e2e.page_site import COLS, ROWS, SIDE, STREETS, classifier, pretrained, segmenter, served, small_copy

TASKS = ("classify", "segment", "attend", "features", "reconstruct")


@pytest.fixture(scope="module")
def models():
    return {"pets": classifier(), "streets": segmenter(), "pretrained": pretrained()}


@pytest.fixture(scope="module")
def address(models):
    with served(models) as address:
        yield address


@pytest.fixture
def magpie(real_data, tmp_path):
    return small_copy(tmp_path, real_data / "imagenet_samples" / "n01582220_magpie.JPEG")


def open_tab(page, task):
    page.locator(f"#tab-{task}").click()
    expect(page.locator(f"#panel-{task} .result")).to_be_visible()


def pixels(page, selector):
    """The colours of a canvas, (height, width, 4)."""
    width, height, numbers = page.locator(selector).evaluate(
        "canvas => { const { width, height } = canvas;"
        " return [width, height, Array.from(canvas.getContext('2d').getImageData(0, 0, width, height).data)]; }"
    )
    return np.array(numbers, np.uint8).reshape(height, width, 4)


def cells(page, task):
    return page.locator(f"#panel-{task} [role=gridcell]")


def hidden(page):
    """The mask that the grid shows, (rows, cols)."""
    states = cells(page, "reconstruct").evaluate_all("cells => cells.map(cell => cell.ariaSelected === 'true')")
    return np.array(states).reshape(ROWS, COLS)


def test_classify_shows_names_and_shares_of_the_model(visit, address, models, magpie):
    page = visit(address)
    page.set_input_files("#file", magpie)
    found = models["pets"].classify([magpie])[0]
    expect(page.locator(".bars .name")).to_have_text(found.labels)  # "<b>cat</b>" is one of them
    percentages = [text.replace("\u00a0%", "") for text in page.locator(".bars .percent").all_inner_texts()]
    assert [float(text.lstrip("< ")) / 100 for text in percentages] == pytest.approx(found.probabilities, abs=0.006)
    widths = page.locator(".bars .bar").evaluate_all(
        "bars => bars.map(bar => parseFloat(getComputedStyle(bar, '::before').width) / bar.clientWidth)"
    )
    assert widths == pytest.approx(found.probabilities, abs=0.01)
    expect(page.locator("#invitation")).to_be_hidden()
    patches = f"{ROWS * COLS} patches of {SIDE // ROWS} \u00d7 {SIDE // COLS} pixels"
    expect(page.locator("#model-info")).to_have_text(f"sees {SIDE} \u00d7 {SIDE} pixels as {patches}, knows 3 classes")


def test_segment_colours_the_picture_and_names_what_is_pointed_at(visit, address, models, magpie):
    page = visit(address)
    page.set_input_files("#file", magpie)
    open_tab(page, "segment")
    found = models["streets"].segment([magpie])[0]
    labels_HW = found.labels
    height, width = labels_HW.shape
    expect(page.locator(".legend .name")).to_have_text(list(found.shares))
    overlay = pixels(page, "#panel-segment .overlay")
    assert len({tuple(overlay[labels_HW == label][0]) for label in np.unique(labels_HW)}) == len(found.shares) > 1
    assert all((overlay[labels_HW == label] == overlay[labels_HW == label][0]).all() for label in np.unique(labels_HW))
    assert overlay.shape[:2] == pixels(page, "#panel-segment .picture").shape[:2] == (height, width)
    box = page.locator("#panel-segment .stage").bounding_box()
    assert box["width"] / box["height"] == pytest.approx(width / height, rel=0.01)
    for label in np.unique(labels_HW):
        rows, cols = np.nonzero(labels_HW == label)
        y, x = rows[len(rows) // 2], cols[len(rows) // 2]
        page.mouse.move(box["x"] + (x + 0.5) / width * box["width"], box["y"] + (y + 0.5) / height * box["height"])
        near = np.unique(labels_HW[max(0, y - 1) : y + 2, max(0, x - 1) : x + 2])
        expect(page.locator(".pointed")).to_have_text(re.compile("|".join(STREETS[number] for number in near)))
    page.locator("#panel-segment .opacity").fill("0")
    expect(page.locator("#panel-segment .overlay")).to_have_css("opacity", "0")


def test_attention_follows_the_chosen_patch_and_head(visit, address, models, magpie):
    page = visit(address)
    page.set_input_files("#file", magpie)
    page.locator("#tab-attend").click()
    page.select_option("#model", "pets")
    expect(page.locator("#panel-attend .summary")).to_contain_text("The whole picture")
    assert pixels(page, "#panel-attend .picture").shape == (SIDE, SIDE, 4)
    cell = cells(page, "attend").nth(3 * COLS + 5)
    cell.click()
    for head, key, row in ((None, None, 3), (1, None, 3), (1, "ArrowDown", 4)):
        if head is not None:
            page.select_option(".head", label=f"Head {head + 1}")
        if key:
            cell.focus()
            page.keyboard.press(key)
        maps = models["pets"].attend([magpie], patch=(row, 5))[0].maps
        shown = maps.mean(axis=0) if head is None else maps[head]
        top, left = np.unravel_index(shown.argmax(), shown.shape)
        expect(page.locator("#panel-attend .summary")).to_contain_text(
            f"The patch at row {row + 1}, column 6 attends most to row {top + 1}, column {left + 1}"
        )
        brightness = pixels(page, "#panel-attend .heat")[..., :3].astype(int).sum(axis=-1)
        assert np.corrcoef(brightness.ravel(), shown.ravel())[0, 1] > 0.9
    expect(cells(page, "attend").nth(4 * COLS + 5)).to_have_attribute("aria-selected", "true")
    page.get_by_role("button", name="Attention of the whole picture").click()
    expect(page.locator("#panel-attend .summary")).to_contain_text("The whole picture")
    expect(page.locator("#panel-attend [aria-selected=true]")).to_have_count(0)


def test_features_are_colours_and_from_a_patch_similarities(visit, address, models, magpie):
    page = visit(address)
    page.set_input_files("#file", magpie)
    open_tab(page, "features")
    page.select_option("#model", "pets")
    said, shown = page.locator("#panel-features .summary"), "#panel-features .map"
    expect(said).to_contain_text("principal components of layer 2")
    assert (pixels(page, shown)[..., :3] == models["pets"].features(magpie)[0].colours).all()
    assert pixels(page, "#panel-features .picture").shape == (SIDE, SIDE, 4)
    expect(page.locator("#panel-features .scale")).to_be_hidden()
    page.select_option("#panel-features .layer", label="Layer 1")
    expect(said).to_contain_text("principal components of layer 1")
    with page.expect_response("**/v1/features"):
        page.locator("#panel-features .foreground").check()
    expect(page.locator("#progress")).to_be_empty()
    colours = models["pets"].features(magpie, layer=1, foreground=True)[0].colours
    assert (pixels(page, shown)[..., :3] == colours).all()
    cell = cells(page, "features").nth(3 * COLS + 5)
    cell.click()
    for key, row in ((None, 3), ("ArrowDown", 4)):
        if key:
            cell.focus()
            page.keyboard.press(key)
        expect(said).to_contain_text(f"In layer 1 the patch at row {row + 1}, column 6 is most similar to row")
        similarities = models["pets"].features(magpie, layer=1, patch=(row, 5))[0].similarities
        expect(page.locator("#panel-features .least")).to_have_text(f"{similarities.min():.2f}")
        expect(page.locator("#panel-features .most")).to_have_text("1.00")
        brightness = pixels(page, shown)[..., :3].astype(int).sum(axis=-1)
        assert np.corrcoef(brightness.ravel(), similarities.ravel())[0, 1] > 0.9
    page.get_by_role("button", name="Colours of all patches").click()
    expect(said).to_contain_text("principal components")
    expect(page.locator("#panel-features [aria-selected=true]")).to_have_count(0)
    page.select_option("#model", "streets")
    expect(said).to_contain_text("principal components of layer 4")


def test_a_patch_that_was_chosen_just_before_another_model_is_not_asked_of_it(visit, address, magpie):
    page = visit(address)
    page.set_input_files("#file", magpie)
    open_tab(page, "attend")
    page.select_option("#model", "pets")
    said = page.locator("#panel-attend .summary")
    expect(said).to_contain_text("The whole picture")
    with page.expect_response("**/v1/attend"):
        cells(page, "attend").nth(3 * COLS + 5).evaluate("""cell => {
            cell.dispatchEvent(new KeyboardEvent("keydown", {key: "ArrowDown", bubbles: true}))
            const model = document.querySelector("#model")
            model.value = "streets"
            model.dispatchEvent(new Event("change", {bubbles: true}))
        }""")
    page.wait_for_timeout(1000)  # well beyond the pause in which several choices of a patch are one request
    expect(page.locator("#progress")).to_be_empty()
    expect(said).to_contain_text("The whole picture")


def test_a_painted_mask_is_what_the_model_is_given(visit, address, models, magpie):
    page = visit(address)
    page.set_input_files("#file", magpie)
    open_tab(page, "reconstruct")
    page.get_by_role("button", name="Clear mask").click()
    expect(page.get_by_role("button", name="Reconstruct", exact=True)).to_be_disabled()
    box = page.locator("#panel-reconstruct .patches").bounding_box()
    side = box["width"] / COLS
    page.mouse.move(box["x"] + side / 2, box["y"] + side / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + 2.5 * side, box["y"] + side / 2, steps=10)
    page.mouse.up()
    page.mouse.move(box["x"] + 2.5 * side, box["y"] + 5 * side)  # no longer pressed
    mask = np.zeros((ROWS, COLS), bool)
    mask[0, :3] = True
    assert (hidden(page) == mask).all()
    page.get_by_role("button", name="Reconstruct", exact=True).click()
    expect(page.locator("#progress")).to_be_empty()
    expect(page.locator(".count")).to_have_text(re.compile("^3 of 64"))
    found = models["pretrained"].reconstruct([magpie], mask)[0]
    for part in ("picture", "masked", "reconstruction"):
        difference = pixels(page, f"#panel-reconstruct .{part}")[..., :3].astype(int) - np.array(getattr(found, part))
        assert np.abs(difference).max() <= 1, part


def test_a_random_mask_hides_about_the_share_that_is_asked_for(visit, address, magpie):
    page = visit(address)
    page.set_input_files("#file", magpie)
    open_tab(page, "reconstruct")
    before = hidden(page)
    page.locator(".share").fill("60")
    expect(page.locator(".share-text")).to_have_text("60 %")
    page.get_by_role("button", name="Random mask").click()
    expect(page.locator(".count")).not_to_contain_text(f"{before.sum()} of 64")
    assert 0.4 < hidden(page).mean() <= 0.6
    assert (hidden(page) != before).any()


def test_the_keyboard_alone_does_everything(visit, address, magpie):
    page = visit(address)
    expect(page.locator("#tab-classify")).to_have_attribute("aria-selected", "true")
    with page.expect_file_chooser() as chooser:  # asked for before the keys: the browser takes a moment to know
        page.keyboard.press("Tab")
        expect(page.locator("#file")).to_be_focused()
        page.keyboard.press("Space")
    chooser.value.set_files(magpie)
    expect(page.locator("#panel-classify .result")).to_be_visible()
    page.keyboard.press("Tab")
    expect(page.locator("#model")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.locator("#tab-classify")).to_be_focused()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#panel-segment .result")).to_be_visible()
    page.keyboard.press("Tab")  # the panel
    page.keyboard.press("Tab")  # the picture in it
    page.keyboard.press("ArrowUp")
    expect(page.locator(".pointed")).to_have_text(re.compile("|".join(STREETS)))
    page.locator("#tab-segment").focus()
    page.keyboard.press("End")
    expect(page.locator("#panel-reconstruct .result")).to_be_visible()
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    expect(cells(page, "reconstruct").first).to_be_focused()
    mask = hidden(page)
    page.keyboard.press("Space")
    mask[0, 0] ^= True
    assert (hidden(page) == mask).all()
    page.keyboard.press("Shift+ArrowDown")  # paints on
    page.keyboard.press("ArrowDown")  # only moves
    mask[1, 0] = mask[0, 0]
    assert (hidden(page) == mask).all()
    page.keyboard.press("Control+End")
    expect(cells(page, "reconstruct").last).to_be_focused()
    page.keyboard.press("Tab")
    with page.expect_response("**/v1/reconstruct") as answer:
        page.keyboard.press("Enter")
    assert answer.value.json()["mask"] == np.argwhere(mask).tolist()
    page.locator("#tab-reconstruct").focus()
    page.keyboard.press("Home")
    expect(page.locator("#panel-classify .result")).to_be_visible()


def test_a_finger_paints_and_points(visit, address, magpie):
    page = visit(address, has_touch=True, is_mobile=True, viewport={"width": 390, "height": 800})
    page.set_input_files("#file", magpie)
    page.locator("#tab-reconstruct").tap()
    page.get_by_role("button", name="Clear mask").tap()
    cells(page, "reconstruct").nth(20).tap()
    assert np.flatnonzero(hidden(page)).tolist() == [20]
    finger = page.context.new_cdp_session(page)
    scrolled = page.evaluate("scrollY")
    for kind, index in (("touchStart", 40), ("touchMove", 48), ("touchMove", 56)):  # down a column
        box = cells(page, "reconstruct").nth(index).bounding_box()
        point = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}
        finger.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [point]})
        page.wait_for_timeout(200)  # a finger that is lifted while it moves flings: the next tap would only stop that
    finger.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    assert np.flatnonzero(hidden(page)).tolist() == [20, 40, 48, 56]
    assert page.evaluate("scrollY") == scrolled
    page.locator("#tab-segment").tap()
    page.locator("#panel-segment .stage").tap()
    expect(page.locator(".pointed")).to_have_text(re.compile("|".join(STREETS)))


@pytest.mark.parametrize("way", ["drop", "paste"])
def test_pictures_are_dropped_and_pasted(visit, address, magpie, way):
    as_png = io.BytesIO()
    with Image.open(magpie) as picture:
        picture.resize((50, 40)).save(as_png, "png")
    page = visit(address)
    expect(page.locator("#model")).to_be_enabled()
    page.evaluate(
        """([way, numbers]) => {
            const transfer = new DataTransfer();
            transfer.items.add(new File([new Uint8Array(numbers)], "magpie.png", { type: "image/png" }));
            document.body.dispatchEvent(way === "drop"
                ? new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true })
                : new ClipboardEvent("paste", { clipboardData: transfer, bubbles: true }));
        }""",
        [way, list(as_png.getvalue())],
    )
    expect(page.locator("#panel-classify .result")).to_be_visible()
    expect(page.locator("#file-name")).to_have_text("magpie.png")


def test_a_new_picture_replaces_every_answer(visit, address, models, magpie, real_data, tmp_path):
    page = visit(address)
    page.set_input_files("#file", magpie)
    open_tab(page, "segment")
    open_tab(page, "classify")
    leopard = small_copy(tmp_path, real_data / "imagenet_samples" / "n02128385_leopard.JPEG")
    page.set_input_files("#file", leopard)
    expect(page.locator("#file-name")).to_have_text(leopard.name)
    open_tab(page, "segment")
    expect(page.locator(".legend .name")).to_have_text(list(models["streets"].segment([leopard])[0].shares))
    with Image.open(leopard) as picture:
        assert pixels(page, "#panel-segment .picture").shape[:2] == (picture.height, picture.width)


def test_pictures_that_a_camera_turned_stand_upright_under_their_colours(visit, address, models, magpie, tmp_path):
    turned = tmp_path / "turned.jpg"
    with Image.open(magpie) as picture:
        exif = picture.getexif()
        exif[ExifTags.Base.Orientation] = 6  # a quarter to the right
        picture.save(turned, exif=exif)
    page = visit(address)
    page.set_input_files("#file", turned)
    open_tab(page, "segment")
    upright = np.array(models["streets"].segment([turned])[0].picture)
    drawn = pixels(page, "#panel-segment .picture")[..., :3].astype(int)
    assert drawn.shape == upright.shape
    assert np.abs(drawn - upright).mean() < 3


def test_a_tab_may_be_chosen_before_the_models_are_known(visit, address, magpie):
    page = visit(address)
    held = []
    page.route("**/v1/models", lambda route: held.append(route))
    page.reload()
    page.set_input_files("#file", magpie)
    page.locator("#tab-segment").click()
    expect(page.locator("#panel-segment")).to_be_visible()
    expect(page.locator("#progress")).to_have_text("Asking for models …")
    while not held:  # the browser has asked, but word of it may still be under way
        page.wait_for_timeout(20)
    held.pop().continue_()
    expect(page.locator("#panel-segment .result")).to_be_visible()
    assert page.locator("#model").input_value() == "streets"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_of_320_pixels_needs_no_sideways_scrolling(visit, address, magpie, scheme):
    page = visit(address, viewport={"width": 320, "height": 640}, color_scheme=scheme)
    page.set_input_files("#file", magpie)
    for task in TASKS:
        open_tab(page, task)
        assert page.evaluate("document.documentElement.scrollWidth") == 320, task


def test_motion_and_colours_follow_the_user(visit, address):
    still = visit(address, reduced_motion="reduce", color_scheme="dark")
    moving = visit(address, color_scheme="light")
    turning = (
        "() => { document.querySelector('#progress').classList.add('running');"
        " return getComputedStyle(document.querySelector('#progress'), '::before').animationName; }"
    )
    assert still.evaluate(turning) == "none"
    assert moving.evaluate(turning) == "turn"
    ground = "getComputedStyle(document.body).backgroundColor"
    assert still.evaluate(ground) != moving.evaluate(ground)
