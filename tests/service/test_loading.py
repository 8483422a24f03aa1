"""The models of a service, by name."""

import io

import pytest
import torch
from PIL import Image

from beit import BeitForImageClassification, BeitForMaskedImageModeling, preset
from beit.errors import ConfigError
from beit.image import Preprocessing
from beit.service.loading import load_predictors, named_models, with_packaged
from beit.settings.serve import ServeJob
from beit.tokenizer import DiscreteVAE, DiscreteVAEConfig
from tests.conftest import TINY_MODEL


def test_names_are_given_or_the_last_part(tmp_path):
    (tmp_path / "a=b").mkdir()
    named = named_models(
        [str(tmp_path / "a=b"), "pets=runs/classes/model", "microsoft/beit-base-patch16-224", "./x/y/"]
    )
    assert named == {
        "a=b": str(tmp_path / "a=b"),
        "pets": "runs/classes/model",
        "beit-base-patch16-224": "microsoft/beit-base-patch16-224",
        "y": "./x/y/",
    }


@pytest.mark.parametrize(
    ("models", "message"),
    [
        (["=model"], "has no name or no place"),
        (["name="], "has no name or no place"),
        (["one/model", "two/model"], "two models are called 'model'; name one of them, as in model2=two/model"),
    ],
)
def test_names_that_cannot_be(models, message):
    with pytest.raises(ConfigError, match=message):
        named_models(models)


@pytest.fixture
def places(tmp_path):
    torch.manual_seed(0)
    kinds = {"pets": BeitForImageClassification, "pretrained": BeitForMaskedImageModeling}
    for name, kind in kinds.items():
        kind(preset("tiny", **TINY_MODEL)).save_pretrained(tmp_path / name)
        Preprocessing((32, 32), (32, 32)).save_pretrained(tmp_path / name)
    DiscreteVAE(DiscreteVAEConfig(TINY_MODEL["vocab_size"], 8, 1, 2, 8)).save_pretrained(tmp_path / "tokenizer")
    return {name: str(tmp_path / name) for name in (*kinds, "tokenizer")}


def job_of(places, **options):
    return ServeJob(tuple(f"{name}={place}" for name, place in places.items()), "cpu", **options)


def test_without_a_name_the_models_of_the_package_are_served(caplog):
    loaded = load_predictors(ServeJob(device="cpu"))
    assert list(loaded) == ["nano-cifar10-classifier", "nano-camvid-segmenter", "nano-cifar10"]
    tasks = {task for one in loaded.values() for task in one.tasks}
    assert tasks >= {"classify", "segment", "embed", "attend", "features", "reconstruct"}
    assert (
        caplog.text.count("no model is named: serving beit/nano-cifar10-classifier, beit/nano-camvid-segmenter and")
        == 1
    )


def test_the_home_folder_behind_a_name(monkeypatch):
    monkeypatch.setenv("HOME", "/home/someone")
    assert named_models(["pets=~/model", "cats=a~/b"]) == {"pets": "/home/someone/model", "cats": "a~/b"}


def test_named_models_are_kept(places):
    job = job_of({"pets": places["pets"]})
    assert with_packaged(job) is job


def test_the_tokenizer_goes_to_the_model_that_can_use_it(places):
    tokenizer = places.pop("tokenizer")
    loaded = load_predictors(job_of(places, tokenizer=tokenizer))
    assert list(loaded) == ["pets", "pretrained"]
    assert {name: "reconstruct" in one.tasks for name, one in loaded.items()} == {"pets": False, "pretrained": True}
    picture = io.BytesIO()
    Image.new("RGB", (40, 40)).save(picture, format="PNG")
    assert loaded["pretrained"].reconstruct([picture.getvalue()])[0].mask.any()
    with pytest.raises(ConfigError, match="none of pets is a pre-training model; leave it out"):
        load_predictors(job_of({"pets": places["pets"]}, tokenizer=tokenizer))


def test_models_share_the_cores(places, monkeypatch):
    counts = []
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    monkeypatch.setattr(torch, "set_num_threads", counts.append)
    load_predictors(job_of({name: places[name] for name in ("pets", "pretrained")}))
    assert counts == [4]
