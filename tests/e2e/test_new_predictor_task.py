"""One more task of the predictor, written in this file alone: every place that lists tasks has it."""

import csv
import json
from dataclasses import dataclass
from typing import Annotated, TypedDict

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image
from playwright.sync_api import expect

from beit.cli.main import main
from beit.errors import ConfigError
from beit.inference.tasks.drawing import png_text
from beit.inference.tasks.options import Limits, TaskOptions
from beit.inference.tasks.registry import TASKS
from beit.inference.tasks.task import PredictorTask, Tab
from beit.service import create_app
from tests.e2e.page_site import VIEW, classifier, served


@dataclass(frozen=True)
class BrightnessOptions(TaskOptions):
    above: Annotated[int, Limits(least=0, most=255), "Grey level from which on a pixel is bright."] = 128


@dataclass(frozen=True)
class Brightness:
    share: float
    bright: Image.Image

    def to_json(self):
        return {"share": self.share}

    def show(self):
        self.bright.show()


class BrightnessAnswer(TypedDict):
    """The bright part of a picture."""

    share: Annotated[float, "Share of bright pixels, 0 to 1."]
    bright_png: str


class BrightnessTask(PredictorTask[BrightnessOptions, Brightness]):
    name = "brightness"
    about = "Measure the bright part of a picture."
    options = BrightnessOptions
    answer_type = BrightnessAnswer
    answer_example = {"share": 0.4, "bright_png": "iVBORw0KGgo..."}  # noqa: RUF012
    formats = ("jsonl", "csv")
    tab = Tab("Brightness", "no loaded model sees pictures.")

    def possible(self, model):
        return True

    def results(self, model, prepared, options):
        masks = [np.asarray(image.convert("L")) >= asked.above for image, asked in zip(prepared, options, strict=True)]
        return [Brightness(float(mask.mean()), Image.fromarray(mask)) for mask in masks]

    def answer(self, result):
        return {"share": result.share, "bright_png": png_text(result.bright)}

    def columns(self, model, options):
        return ["share"]


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    monkeypatch.setitem(TASKS, "brightness", BrightnessTask())


@pytest.fixture
def half(tmp_path):
    """A picture whose upper quarter is bright."""
    pixels = np.full((40, 40, 3), 90, np.uint8)
    pixels[:10] = 200
    Image.fromarray(pixels).save(tmp_path / "half.png")
    return tmp_path / "half.png"


def test_the_predictor_has_it(half):
    predictor = classifier()
    assert predictor.tasks == {"classify", "embed", "neighbours", "attend", "features", "brightness"}
    assert [result.share for result in predictor.ask("brightness", [half, half])] == [0.25, 0.25]
    assert predictor.ask("brightness", half, above=80)[0].share == 1
    with pytest.raises(ConfigError, match="above is 300; expected at least 0, at most 255"):
        predictor.ask("brightness", half, above=300)


def test_jobs_write_its_columns(half, tmp_path, capsys):
    predictor = classifier()
    predictor.runner.model.save_pretrained(tmp_path / "model")
    VIEW.save_pretrained(tmp_path / "model")
    command = ["predict", str(tmp_path / "model"), str(half), "--task=brightness", "--device=cpu"]
    assert main([*command, f"--output={tmp_path / 'a.csv'}", "--above=80"]) == 0
    assert list(csv.DictReader((tmp_path / "a.csv").open())) == [{"picture": str(half), "share": "1.0"}]
    capsys.readouterr()
    assert main(command) == 0, "it makes no pictures, so that it may be printed"
    assert json.loads(capsys.readouterr().out) == {"picture": str(half), "share": 0.25}


def test_the_service_answers_and_describes_it(half):
    client = TestClient(create_app({"pets": classifier()}), base_url="http://localhost")
    answer = client.post("/v1/brightness", files={"file": half.read_bytes()}, data={"above": "80"}).json()
    assert (answer["model"], answer["share"]) == ("pets", 1)
    wrong = client.post("/v1/brightness", files={"file": half.read_bytes()}, data={"above": "300"})
    assert wrong.status_code == 422
    api = client.get("/openapi.json").json()
    asked = api["paths"]["/v1/brightness"]["post"]
    form = asked["requestBody"]["content"]["multipart/form-data"]["schema"]["properties"]
    assert (form["above"]["maximum"], form["above"]["default"]) == (255, 128)
    assert asked["description"] == "Measure the bright part of a picture."
    described = api["components"]["schemas"]["BrightnessAnswer"]
    assert described["properties"]["share"]["description"] == "Share of bright pixels, 0 to 1."
    assert "brightness" in client.get("/v1/models").json()["models"][0]["tasks"]
    assert 'route="/v1/brightness",status="200"' in client.get("/metrics").text


def test_the_list_of_the_page_has_it(half):
    tasks = TestClient(create_app({"pets": classifier()}), base_url="http://localhost").get("/v1/tasks").json()["tasks"]
    tabs = {task["name"]: task["tab"] and task["tab"]["title"] for task in tasks}
    assert tabs == {
        "classify": "Classify", "segment": "Segment", "embed": None, "attend": "Attention",
        "features": "Features", "reconstruct": "Reconstruct", "brightness": "Brightness",
    }  # fmt: skip


def test_the_page_shows_it_field_by_field(visit, half):
    with served({"pets": classifier()}) as address:
        page = visit(address)
        page.set_input_files("#file", half)
        page.locator("#tab-brightness").click()
        expect(page.locator("#panel-brightness dt")).to_have_text(["share", "bright_png"])
        expect(page.locator("#panel-brightness dd").first).to_have_text("0.25")
        assert page.locator("#panel-brightness img").evaluate("image => image.decode().then(() => image.width)") == 40
