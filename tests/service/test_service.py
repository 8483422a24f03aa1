"""The HTTP service in one process: what it answers, and what it refuses."""

import asyncio
import base64
import io
import json

import httpx
import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError

from beit import BeitForImageClassification, BeitForSemanticSegmentation, Predictor, preset
from beit.image import Preprocessing
from beit.service import ServiceSettings, create_app
from tests.conftest import TINY_MODEL
from tests.service.fake_predictor import FakePredictor
from tests.service.uploads import encoded, hostile, picture

NAMES = {0: "cat", 1: "dog", 2: "eel"}


def talk(app, conversation):
    """Hold a conversation with an application, in one event loop."""

    async def held():
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=30) as client:
            return await conversation(client)

    return asyncio.run(held())


def post(client, task, upload=None, **fields):
    files = {"file": ("picture", picture() if upload is None else upload)}
    return client.post(f"/v1/{task}", files=files, data={name: str(value) for name, value in fields.items()})


def ask(app, task, upload=None, **fields):
    return talk(app, lambda client: post(client, task, upload, **fields))


def fake_app(seconds=0.0, **limits):
    predictor = FakePredictor(seconds)
    return create_app({"fake": predictor}, ServiceSettings(**limits)), predictor


def refusal(answer):
    """Return the message of an error, which is one line without a path or a traceback."""
    assert set(answer.json()) == {"error"}, answer.text
    message = answer.json()["error"]["message"]
    assert "\n" not in answer.text
    assert message.isprintable()
    assert not any(word in message for word in ("Traceback", "/tmp", "/src", "<", ".py"))  # noqa: S108
    return message


def saved(model, folder, height=32):
    torch.manual_seed(0)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    model.save_pretrained(folder)
    Preprocessing((height, 32), (height, 32)).save_pretrained(folder)
    return Predictor.from_pretrained(folder)


@pytest.fixture(scope="module")
def predictors(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    options = {"pool_scales": (1, 2), "out_indices": [1, 2, 3, 4], "num_hidden_layers": 4, "use_auxiliary_head": False}
    scenes = preset("tiny", **{**TINY_MODEL, **options}, id2label=NAMES)
    return {
        "pets": saved(BeitForImageClassification(preset("tiny", **TINY_MODEL, id2label=NAMES)), folder / "pets"),
        "streets": saved(BeitForSemanticSegmentation(scenes), folder / "streets"),
    }


@pytest.fixture(scope="module")
def app(predictors):
    return create_app(predictors)


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


def test_two_hundred_hostile_uploads_and_then_a_picture():
    app, predictor = fake_app(max_pixels=1_000_000)
    cases = hostile()

    async def conversation(client):
        return [await post(client, "classify", upload) for _, upload in cases], await post(client, "classify")

    refused, after = talk(app, conversation)
    assert len(refused) == 200
    for (name, _), answer in zip(cases, refused, strict=True):
        assert answer.status_code in (400, 413), (name, answer.text)
        assert refusal(answer)
    statuses = {name: answer.status_code for (name, _), answer in zip(cases, refused, strict=True)}
    assert {statuses[f"bomb_{side}.png"] for side in (2_000, 10_000, 60_000)} == {413}
    assert after.status_code == 200
    assert predictor.runner.batches == [1]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM"])
def test_formats(kind):
    app, _ = fake_app()
    assert ask(app, "classify", encoded(Image.new("RGB", (20, 30), "white"), kind)).json()["predictions"][0] == {
        "label": "bright",
        "probability": 1.0,
    }


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"", "multipart/form-data; boundary=x", 422),
        (b"--x\r\nno form", "multipart/form-data; boundary=x", 400),
        (b"--x--\r\n", "multipart/form-data", 400),
        (b"--x--\r\n", "multipart/form-data; boundary=" + "y" * 10_000, 400),
        (b'{"file": "/etc/passwd"}', "application/json", 415),
        (b"file=/etc/passwd", "application/x-www-form-urlencoded", 415),
        (b"x", "", 415),
        (b"x", "multi\x00\x1b[31mpart", 415),
        (b"--x--\r\n", "multipart/form-data; boundary=x; charset=undefined", 415),  # a codec of Python, which fails
        (b"--x--\r\n", "multipart/form-data; boundary=x; charset=utf-16", 415),
        (b"--x--\r\n", "multipart/form-data; boundary=x; charset=UTF-8", 422),
    ],
)
def test_bodies_that_are_no_form(content, kind, status):
    app, _ = fake_app()
    answer = talk(app, lambda client: client.post("/v1/classify", content=content, headers={"Content-Type": kind}))
    assert answer.status_code == status, answer.text
    refusal(answer)


@pytest.mark.parametrize(
    ("files", "fields", "message"),
    [
        ({"picture": b"x"}, {}, "there is no field 'picture'; expected some of file, model, top_k"),
        ({}, {"file": "/etc/passwd"}, "the field 'file' is something else; expected a file"),
        ({"file": picture(), "top_k": b"3"}, {}, "Too many files"),
        ({"file": picture()}, {"top_k": ["1", "2"]}, "given twice"),
        ({"file": picture()}, {f"field_{number}": "1" for number in range(99)}, "Too many fields"),
        ({"file": picture()}, {"model": "x" * 99_999}, "Part exceeded maximum size of 64KB"),
    ],
)
def test_forms_with_other_fields(files, fields, message):
    app, _ = fake_app()
    files = files or {"other": (None, "1")}
    answer = talk(app, lambda client: client.post("/v1/classify", files=files, data=fields))
    assert answer.status_code in (400, 422)
    assert message in refusal(answer)


def test_no_upload_touches_a_disk(monkeypatch):
    import tempfile

    def refuse(*_, **__):
        raise AssertionError("a temporary file was made")

    monkeypatch.setattr(tempfile, "_mkstemp_inner", refuse)
    app, _ = fake_app()
    assert ask(app, "classify", picture(size=(900, 1400), kind="PNG")).status_code == 200  # more than 3 MB


def test_requests_are_computed_together_in_one_thread():
    app, predictor = fake_app(0.1, batch_size=4, max_wait_ms=50)

    async def conversation(client):
        return await asyncio.gather(
            *(post(client, "classify", picture(seed), top_k=1 + seed % 2) for seed in range(10))
        )

    answers = talk(app, conversation)
    assert [len(answer.json()["predictions"]) for answer in answers] == [1, 2] * 5
    assert sum(predictor.runner.batches) == 10
    assert max(predictor.runner.batches) == 4
    assert len(predictor.runner.batches) <= 5
    assert len(predictor.runner.threads) == 1
    alone = ask(fake_app()[0], "classify", picture(7)).json()
    assert answers[7].json()["predictions"][0]["probability"] == pytest.approx(alone["predictions"][0]["probability"])


def test_a_full_queue_sends_away_at_once():
    app, predictor = fake_app(0.2, queue=3, batch_size=1)

    async def conversation(client):
        return await asyncio.gather(*(post(client, "classify") for _ in range(12)))

    answers = talk(app, conversation)
    statuses = [answer.status_code for answer in answers]
    assert statuses.count(200) == 3
    assert statuses.count(429) == 9
    sent_away = next(answer for answer in answers if answer.status_code == 429)
    assert sent_away.headers["Retry-After"] == "1"
    assert "3 requests wait already" in refusal(sent_away)
    assert len(predictor.runner.batches) == 3
    assert ask(app, "classify").status_code == 200


@pytest.mark.e2e
def test_what_takes_too_long_is_given_up_and_what_waits_is_dropped():
    app, predictor = fake_app(0.5, batch_size=1, timeout_s=0.25)

    async def conversation(client):
        answers = await asyncio.gather(*(post(client, "classify") for _ in range(4)))
        await asyncio.sleep(0.6)
        return answers

    answers = talk(app, conversation)
    computed, *waited = sorted(answers, key=lambda answer: -answer.status_code)  # any of them may have been the first
    assert (computed.status_code, {answer.status_code for answer in waited}) == (504, {503})
    assert "no result within 0.25 s" in refusal(computed)
    assert predictor.runner.batches == [1]  # the one that had begun
    assert app.state.service.admission.computing == 0


def test_a_failing_model_reveals_nothing_of_itself(caplog):
    app, predictor = fake_app()
    predictor.runner.seconds = "fail"
    answer = ask(app, "classify")
    assert answer.status_code == 500
    assert refusal(answer) == "the service failed on this request; its log says why"
    assert "TypeError" in caplog.text
    predictor.runner.seconds = 0
    assert ask(app, "classify").status_code == 200


def test_only_who_knows_the_token_is_answered():
    app, _ = fake_app(token="s3cret")  # noqa: S106

    async def statuses(client, shown):
        headers = {} if shown is None else {"Authorization": shown}
        asked = [await client.get(path, headers=headers) for path in ("/v1/models", "/metrics")]
        asked.append(await client.post("/v1/classify", files={"file": picture()}, headers=headers))
        return asked

    for shown in (None, "s3cret", "Bearer", "Bearer s3cre", "Bearer s3crett", "Basic s3cret", "Bearer "):
        for answer in talk(app, lambda client, shown=shown: statuses(client, shown)):
            assert answer.status_code == 401
            assert answer.headers["WWW-Authenticate"] == "Bearer"
            assert "s3cret" not in refusal(answer)
    assert [each.status_code for each in talk(app, lambda client: statuses(client, "Bearer s3cret"))] == [200] * 3
    assert talk(app, lambda client: client.get("/healthz")).status_code == 200
    assert "s3cret" not in repr(app.state.service.settings)


def test_a_service_that_loads_or_stops():
    app, _ = fake_app()
    empty = create_app(dict)
    assert talk(empty, lambda client: client.get("/healthz")).status_code == 200
    assert talk(empty, lambda client: client.get("/readyz")).status_code == 503
    loading = ask(empty, "classify")
    assert loading.status_code == 503
    assert "still being loaded" in refusal(loading)
    assert talk(app, lambda client: client.get("/readyz")).json() == {"status": "ready"}
    app.state.service.admission.stopping = True
    assert talk(app, lambda client: client.get("/readyz")).status_code == 503
    assert talk(app, lambda client: client.get("/healthz")).status_code == 200
    assert "the service is stopping" in refusal(ask(app, "classify"))


def test_metrics_count_requests_batches_and_time():
    app, _ = fake_app()
    for _ in range(3):
        ask(app, "classify")
    ask(app, "classify", b"text")
    for number in range(5):
        ask(app, f"invented_{number}")
    text = talk(app, lambda client: client.get("/metrics")).text
    assert 'beit_requests_total{route="/v1/classify",status="200"} 3.0' in text
    assert 'beit_requests_total{route="/v1/classify",status="400"} 1.0' in text
    assert 'beit_requests_total{route="other",status="404"} 5.0' in text
    assert 'beit_batch_size_sum{model="fake"} 3.0' in text
    assert 'beit_request_seconds_count{route="/v1/classify"} 4.0' in text
    assert "beit_queue_depth 0.0" in text
    assert "invented" not in text


def test_every_answer_has_security_headers_and_none_invites_other_sites():
    app, _ = fake_app()
    for path in ("/healthz", "/v1/models", "/nothing", "/openapi.json"):
        headers = talk(app, lambda client, path=path: client.get(path, headers={"Origin": "http://evil"})).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
        assert headers["X-Frame-Options"] == "DENY"
        assert not [name for name in headers if name.lower().startswith("access-control")]


def test_the_page_is_there_with_a_policy_of_its_own_and_without_a_token():
    app, _ = fake_app(token="s3cret")  # noqa: S106
    page = talk(app, lambda client: client.get("/"))
    assert page.status_code == 200
    assert page.headers["Content-Type"].startswith("text/html")
    assert "default-src 'self'" in page.headers["Content-Security-Policy"]
    assert page.headers["X-Frame-Options"] == "DENY"
    assert page.headers["Cache-Control"] == "no-cache"


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


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"batch_size": 0}, "batch_size\n.*greater than or equal to 1"),
        ({"queue": 0}, "queue\n.*greater than or equal to 1"),
        ({"timeout_s": 0}, "timeout_s\n.*greater than 0"),
        ({"max_wait_ms": -1}, "max_wait_ms\n.*greater than or equal to 0"),
        ({"token": ""}, "the token is empty"),
        ({"max_upload_mb": float("nan")}, "max_upload_mb\n.*greater than 0"),
    ],
)
def test_limits_that_cannot_work(limits, message):
    with pytest.raises(ValidationError, match=message):
        ServiceSettings(**limits)
