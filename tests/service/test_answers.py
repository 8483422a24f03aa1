"""Answers of the HTTP service: those of the predictor, the list of models, the description of it all."""

import base64
import io
import json

import numpy as np
import pytest
from PIL import Image

from beit import Predictor
from beit.service import create_app
from tests.service.asking import NAMES, ask, fake_app, refusal, talk
from tests.service.fake_predictor import FakePredictor
from tests.service.uploads import picture


def test_classify_is_what_the_predictor_says(app, predictors):
    answer = ask(app, "classify", model="pets", top_k=2)
    assert answer.status_code == 200, answer.text
    expected = predictors["pets"].classify([picture()], top_k=2)[0]
    found = answer.json()
    assert found["model"] == "pets"
    assert [each["label"] for each in found["predictions"]] == expected.labels
    assert [each["probability"] for each in found["predictions"]] == pytest.approx(expected.probabilities, abs=1e-6)


def test_embed_is_what_the_predictor_says(app, predictors):
    vector = ask(app, "embed", model="pets").json()["embedding"]
    np.testing.assert_allclose(vector, predictors["pets"].embed([picture()])[0].vector, atol=1e-5)


def opened(text):
    return Image.open(io.BytesIO(base64.b64decode(text)))


def test_segment_is_what_the_predictor_says(app, predictors):
    answer = ask(app, "segment", model="streets")
    assert answer.status_code == 200, answer.text
    found, expected = answer.json(), predictors["streets"].segment([picture()])[0]
    labels, overlay = opened(found["labels_png"]), opened(found["overlay_rgba_png"])
    assert (labels.mode, overlay.mode) == ("L", "RGBA")
    assert (found["height"], found["width"]) == (labels.height, labels.width) == (48, 40)
    np.testing.assert_array_equal(np.asarray(labels), expected.labels)
    assert [each["name"] for each in found["classes"]] == list(NAMES.values())
    assert {each["name"]: each["share"] for each in found["classes"] if each["share"]} == expected.shares
    colours = np.array([list(bytes.fromhex(each["colour"][1:])) for each in found["classes"]])
    np.testing.assert_array_equal(np.asarray(overlay)[..., :3], colours[expected.labels])


def test_attend_is_what_the_predictor_says(app, predictors):
    found = ask(app, "attend", model="pets", layer=0, patch="1,2").json()
    expected = predictors["pets"].attend([picture()], layer=0, patch=(1, 2))[0]
    assert (found["rows"], found["cols"], found["patch"]) == (4, 4, [1, 2])
    np.testing.assert_allclose(found["maps"], expected.maps.reshape(4, 16), atol=1e-6)
    assert opened(found["picture_png"]).size == (32, 32)
    assert ask(app, "attend", model="pets").json()["patch"] is None


def test_models_are_listed(app):
    answer = talk(app, lambda client: client.get("/v1/models")).json()["models"]
    assert [each["name"] for each in answer] == ["pets", "streets"]
    pets = answer[0]
    assert pets["tasks"] == ["attend", "classify", "embed", "features"]
    assert pets["classes"] == list(NAMES.values())
    assert (pets["image_height"], pets["image_width"], pets["patch_size"], pets["rows"], pets["cols"]) == (
        32,
        32,
        8,
        4,
        4,
    )


def test_a_model_without_classes_lists_none(pretrained):
    app = create_app({"mine": Predictor.from_pretrained(pretrained, device="cpu")})
    listed = talk(app, lambda client: client.get("/v1/models")).json()["models"][0]
    assert (listed["tasks"], listed["classes"]) == (["attend", "embed", "features"], [])


def test_one_model_need_not_be_named():
    app, _ = fake_app()
    for named in ({}, {"model": ""}, {"model": "fake"}):
        assert ask(app, "classify", **named).json()["model"] == "fake"


@pytest.mark.parametrize(
    ("task", "fields", "status", "message"),
    [
        ("classify", {"model": "birds"}, 404, "there is no model 'birds'; expected one of pets, streets"),
        ("classify", {}, 422, "the field 'model' is missing; expected one of pets, streets"),
        ("classify", {"model": ""}, 422, "the field 'model' is missing; expected one of pets, streets"),
        ("segment", {"model": "pets"}, 422, "'pets' cannot segment; expected one of: attend, classify, embed"),
        ("classify", {"model": "pets", "top_k": 0}, 422, "top_k is '0': input should be greater than or equal to 1"),
        (
            "classify",
            {"model": "pets", "topk": 1},
            422,
            "there is no field 'topk'; expected some of file, model, top_k",
        ),
        ("attend", {"model": "pets", "patch": "1;2"}, 422, "patch is '1;2'"),
        ("attend", {"model": "pets", "patch": "4,0"}, 422, "expected a row of 0 to 3"),
        ("attend", {"model": "pets", "layer": 2}, 422, "layer is 2; expected 0 to 1"),
        ("paint", {}, 404, "there is nothing at this address"),
    ],
)
def test_what_cannot_be_asked(app, task, fields, status, message):
    answer = ask(app, task, **fields)
    assert answer.status_code == status
    assert message in refusal(answer)


class Painter(FakePredictor):
    """Paints black, whatever is hidden."""

    def __init__(self):
        super().__init__(tasks=["reconstruct"])
        black = Image.new("RGB", (32, 32))
        self.model.reconstructor = lambda picture, mask: (picture.resize((32, 32)), black, black)


def test_reconstruct_hides_the_patches_it_is_asked_to():
    app = create_app({"mine": Painter()})
    found = ask(app, "reconstruct", mask="[[0, 1], [3, 2]]").json()
    assert (found["rows"], found["cols"], found["mask"]) == (4, 4, [[0, 1], [3, 2]])
    assert {opened(found[f"{name}_png"]).size for name in ("picture", "masked", "reconstruction")} == {(32, 32)}
    assert 1 <= len(ask(app, "reconstruct", share=0.5).json()["mask"]) <= 8
    assert ask(app, "reconstruct", mask="[]").json()["mask"] == []
    for wrong in ("[[4, 0]]", "[[0]]", "[[0, -1]]", "{}", "[[", "[" * 50_000, '[["a", 1]]'):
        answer = ask(app, "reconstruct", mask=wrong)
        assert answer.status_code == 422, wrong[:20]
        refusal(answer)


def test_openapi_describes_forms_answers_and_errors(app):
    api = talk(app, lambda client: client.get("/openapi.json")).json()
    assert {"/v1/classify", "/v1/segment", "/v1/embed", "/v1/attend", "/v1/reconstruct"} <= set(api["paths"])
    asked = api["paths"]["/v1/classify"]["post"]
    form = asked["requestBody"]["content"]["multipart/form-data"]
    assert form["schema"]["properties"]["file"]["format"] == "binary"
    assert form["schema"]["required"] == ["file"]
    assert "may be left out where there is one" in form["schema"]["properties"]["model"]["description"]
    assert form["example"]["top_k"] == 3
    assert {"200", "400", "413", "429", "504"} <= set(asked["responses"])
    assert api["components"]["schemas"]["ClassifyAnswer"]["example"]["predictions"]
    assert "HTTPValidationError" not in json.dumps(api)
