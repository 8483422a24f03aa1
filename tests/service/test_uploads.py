"""Uploads to the HTTP service: formats, hostile files, forms that are none."""

import sys

import pytest
from PIL import Image

from tests.service.asking import ask, fake_app, post, refusal, talk
from tests.service.uploads import encoded, hostile, picture


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


@pytest.mark.parametrize(
    ("upload", "missing", "message"),
    [
        (encoded(Image.new("L", (9, 9)), "GIF", save_all=True, append_images=[Image.new("L", (9, 9), 255)]), None,
         "the file holds several pictures (GIF); expected one, save the one you mean by itself"),
        (b"\0\0\0\x18ftypheic" + bytes(99), "pillow_heif", "the file cannot be read here; use PNG, JPEG"),
        (bytes(128) + b"DICM" + bytes(99), "pydicom", "the file cannot be read here; use PNG, JPEG"),
    ],
)  # fmt: skip
def test_remedies_are_those_of_a_client(monkeypatch, upload, missing, message):
    """A client has no settings and installs nothing: what only the operator can do is left to the operator."""
    if missing:
        monkeypatch.setitem(sys.modules, missing, None)
    answer = ask(fake_app()[0], "classify", upload)
    assert answer.status_code == 400
    assert refusal(answer).startswith(message)


def test_no_upload_touches_a_disk(monkeypatch):
    import tempfile

    def refuse(*_, **__):
        raise AssertionError("a temporary file was made")

    monkeypatch.setattr(tempfile, "_mkstemp_inner", refuse)
    app, _ = fake_app()
    assert ask(app, "classify", picture(size=(900, 1400), kind="PNG")).status_code == 200  # more than 3 MB
