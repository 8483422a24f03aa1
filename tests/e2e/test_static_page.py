"""The page of `beit export --to web` in a real browser: without a service, the numbers are those of the predictor."""

import json
import re

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

from tests.e2e.static_site import (
    CLASSES,
    COLS,
    ROWS,
    SCENES,
    SIDE,
    export_page,
    files_served,
    models_written_once,
    save_classifier,
    save_pretrained,
    save_segmenter,
)

PHONE = {"has_touch": True, "is_mobile": True, "viewport": {"width": 390, "height": 800}}
PICTURES = ("n01582220_magpie.JPEG", "n02128385_leopard.JPEG")


@pytest.fixture(scope="module", autouse=True)
def patient():
    """A browser takes seconds to compile the program that computes."""
    expect.set_options(timeout=60_000)
    yield
    expect.set_options(timeout=5_000)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("pages")


@pytest.fixture(scope="module")
def models(root):
    return {
        "pets": save_classifier(root / "models" / "pets"),
        "pretrained": save_pretrained(root / "models" / "pretrained", root / "models" / "tokenizer"),
        **{name: save_segmenter(root / "models" / name, scene) for name, scene in SCENES.items()},
    }


@pytest.fixture(scope="module")
def written(root, models):
    tokenizer = {"tokenizer": str(root / "models" / "tokenizer")}
    with models_written_once():
        return {
            name: export_page(root / "models" / name, root / "site" / "deep" / name, **options)
            for name, options in (("pets", {}), ("pretrained", tokenizer), *((name, {}) for name in SCENES))
        }


@pytest.fixture(scope="module")
def address(root, written):
    with files_served(root / "site") as address:
        yield f"{address}/deep"


@pytest.fixture
def samples(real_data):
    return real_data / "imagenet_samples"


def ask(page, task, model=0, **fields):
    """The answer that the page's own back end gives for the chosen picture, with pictures as arrays."""
    answer = page.evaluate(
        """async ([task, place, fields]) => {
            const { Api } = await import("./page/browser.js");
            globalThis.api ??= new Api();
            const model = (await api.models())[place].name;
            const file = document.querySelector("#file").files[0];
            const answer = await api.run(task, file, { ...fields, model }, new AbortController().signal);
            const plain = (value) => value instanceof ImageData ? [value.height, value.width, [...value.data]] : value;
            return Object.fromEntries(Object.entries(answer).map(([name, value]) => [name, plain(value)]));
        }""",
        [task, model, fields],
    )
    for name in [name for name in answer if name.endswith("_png")]:
        height, width, numbers = answer[name]
        answer[name] = np.array(numbers, np.uint8).reshape(height, width, 4)[..., :3].astype(int)
    return answer


def open_tab(page, task):
    page.locator(f"#tab-{task}").click()
    expect(page.locator(f"#panel-{task} .result")).to_be_visible()


@pytest.mark.parametrize("picture", PICTURES)
def test_classes_and_probabilities_are_those_of_the_predictor(visit, address, models, samples, picture, tmp_path):
    page = visit(f"{address}/pets", **PHONE)
    for place in (samples / picture, tmp_path / "tall.png"):
        if place.suffix == ".png":
            with Image.open(samples / picture) as image:
                image.resize((123, 301)).save(place)
        page.set_input_files("#file", place)
        expect(page.locator("#panel-classify .result")).to_be_visible()
        found = models["pets"].classify(place)[0]
        predictions = ask(page, "classify", top_k=5)["predictions"]
        assert [one["label"] for one in predictions] == found.labels
        assert [one["probability"] for one in predictions] == pytest.approx(found.probabilities, abs=1e-3)
        expect(page.locator(".bars .name")).to_have_text(found.labels)


def test_int8_is_near(visit, address, models, samples):
    page = visit(f"{address}/pets")
    page.set_input_files("#file", samples / PICTURES[0])
    page.select_option("#model", index=1)
    expect(page.locator("#panel-classify .result")).to_be_visible()
    found = models["pets"].classify(samples / PICTURES[0])[0]
    predictions = ask(page, "classify", model=1, top_k=1)["predictions"]
    assert predictions[0]["probability"] == pytest.approx(found.probabilities[0], abs=0.1)
    assert predictions[0]["probability"] != pytest.approx(found.probabilities[0], abs=1e-7)


@pytest.mark.parametrize("name", SCENES)
def test_pixels_have_the_classes_of_the_predictor(visit, address, models, samples, name, tmp_path):
    page = visit(f"{address}/{name}", **PHONE)
    for size in ((250, 188), (61, 50)):  # the second is smaller than a window
        picture = tmp_path / f"{size[0]}.png"
        with Image.open(samples / PICTURES[0]) as image:
            image.convert("RGB").resize(size).save(picture)
        page.set_input_files("#file", picture)
        expect(page.locator("#panel-segment .result")).to_be_visible()
        found = models[name].segment(picture)[0]
        answer = ask(page, "segment")
        agreement = np.mean(answer["labels_png"][..., 0] == found.labels)
        assert agreement > 0.999, f"{picture.name}: {agreement:.4f}"  # near ties may fall otherwise
        shares = {one["name"]: one["share"] for one in answer["classes"] if one["share"]}
        assert shares == pytest.approx(found.shares, abs=1e-3)
        assert len(shares) > 1
    assert [one["colour"] for one in answer["classes"]] == ["#800000", "#008000", "#808000", "#000080"]
    expect(page.locator(".legend .name")).to_have_text(list(found.shares))


def test_attention_is_that_of_the_predictor(visit, address, models, samples):
    page = visit(f"{address}/pets")
    page.set_input_files("#file", samples / PICTURES[0])
    for options, fields in (({}, {}), ({"patch": (3, 5)}, {"patch": "3,5"})):
        found = models["pets"].attend(samples / PICTURES[0], **options)[0]
        answer = ask(page, "attend", **fields)
        assert np.array(answer["maps"]) == pytest.approx(found.maps.reshape(len(found.maps), -1), abs=1e-3)
        assert np.abs(answer["picture_png"] - np.array(found.picture)).max() <= 2
    open_tab(page, "attend")
    page.locator("#panel-attend [role=gridcell]").nth(3 * COLS + 5).click()
    expect(page.locator("#panel-attend .summary")).to_contain_text("The patch at row 4, column 6 attends most to")


@pytest.mark.parametrize("foreground", [False, True])
def test_features_are_those_of_the_predictor(visit, address, models, samples, foreground):
    page = visit(f"{address}/pets")
    page.set_input_files("#file", samples / PICTURES[1])
    for layer in (1, 2):
        found = models["pets"].features(samples / PICTURES[1], layer=layer, foreground=foreground, patch=(2, 6))[0]
        answer = ask(page, "features", layer=layer, foreground=foreground, patch="2,6")
        assert np.abs(answer["colours_png"] - found.colours.astype(int)).max() <= 2
        assert answer["shares"] == pytest.approx(found.shares, abs=1e-3)
        assert answer["similarities"] == pytest.approx(found.similarities.ravel(), abs=1e-3)
    open_tab(page, "features")
    expect(page.locator("#panel-features .summary")).to_contain_text("principal components of layer 2")
    page.locator("#panel-features [role=gridcell]").nth(2 * COLS + 6).click()
    expect(page.locator("#panel-features .summary")).to_contain_text("In layer 2 the patch at row 3, column 7")


def test_hidden_patches_are_painted_as_the_predictor_does(visit, address, models, samples):
    page = visit(f"{address}/pretrained")
    page.set_input_files("#file", samples / PICTURES[0])
    mask = np.zeros((ROWS, COLS), bool)
    mask[2:5, 1:6] = True
    found = models["pretrained"].reconstruct(samples / PICTURES[0], mask)[0]
    answer = ask(page, "reconstruct", mask=json.dumps(np.argwhere(mask).tolist()))
    for part in ("picture", "masked", "reconstruction"):
        difference = np.abs(answer[f"{part}_png"] - np.array(getattr(found, part)))
        assert difference.max() <= (8 if part == "reconstruction" else 2), part
        assert difference.mean() < 0.5, part
    open_tab(page, "reconstruct")
    expect(page.locator(".count")).to_have_text(re.compile("of 64"))
    page.locator(".share").fill("60")
    page.get_by_role("button", name="Random mask").click()
    expect(page.locator("#progress")).to_be_empty()
    share = int(page.locator(".count").inner_text().split()[0]) / (ROWS * COLS)
    assert 0.3 < share <= 0.6


def test_a_page_has_the_tabs_that_its_model_can_fill(visit, address, written):
    page = visit(f"{address}/pretrained")
    expect(page.locator("[role=tab]")).to_have_text(["Attention", "Features", "Reconstruct"])
    assert written["pretrained"]["without"].keys() == {"classify", "segment"}
    page = visit(f"{address}/pets")
    expect(page.locator("[role=tab]")).to_have_text(["Classify", "Attention", "Features"])
    expect(page.locator("#model-info")).to_contain_text(f"pets sees {SIDE} \u00d7 {SIDE} pixels")
    expect(page.locator("#model-info")).to_contain_text(f"knows {len(CLASSES)} classes")
    assert written["pets"]["without"].keys() == {"segment", "reconstruct"}
    page = visit(f"{address}/streets")
    expect(page.locator("[role=tab]")).to_have_text(["Segment", "Attention", "Features"])
    expect(page.locator("#model-info")).to_contain_text("knows 4 classes")
    expect(page.locator("footer")).to_contain_text("Pictures stay on this device")
    expect(page.locator(".of-service").first).to_be_hidden()


def test_without_a_network_everything_goes_on(visit, address, samples):
    page = visit(f"{address}/pretrained", alone=True, **PHONE)
    page.set_input_files("#file", samples / PICTURES[0])
    open_tab(page, "reconstruct")  # all files are loaded
    page.context.set_offline(True)
    sent = []
    page.on("request", lambda request: sent.append(request.url))
    page.set_input_files("#file", samples / PICTURES[1])
    for task in ("attend", "features", "reconstruct"):
        open_tab(page, task)
    assert [url for url in sent if not url.startswith(("blob:", "data:"))] == []


def test_nothing_is_sent(visit, address, samples):
    page = visit(f"{address}/pets")
    methods = []
    page.on("request", lambda request: methods.append((request.method, request.post_data)))
    page.set_input_files("#file", samples / PICTURES[0])
    open_tab(page, "features")
    assert set(methods) == {("GET", None)}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_of_320_pixels_needs_no_sideways_scrolling(visit, address, samples, scheme):
    page = visit(f"{address}/pretrained", viewport={"width": 320, "height": 640}, color_scheme=scheme)
    page.set_input_files("#file", samples / PICTURES[0])
    for task in ("attend", "features", "reconstruct"):
        open_tab(page, task)
        assert page.evaluate("document.documentElement.scrollWidth") == 320, task


def test_what_is_no_picture_and_a_file_that_is_missing_are_said(visit, address, root, samples, tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    page = visit(f"{address}/pets", expected_errors=("404",))
    page.set_input_files("#file", broken)
    expect(page.locator("#error")).to_have_text("this browser cannot show broken.png; save it as JPEG or PNG")
    page.route("**/model/*.onnx", lambda route: route.fulfill(status=404))
    page.set_input_files("#file", samples / PICTURES[0])
    expect(page.locator("#error")).to_contain_text(
        "model/fp32.onnx of this page did not arrive: its server answered 404"
    )
