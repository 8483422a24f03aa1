"""Errors that users of transformers catch: by the same class, from ours as from theirs."""

import os

import numpy as np
import pytest
import torch

import beit
from beit.errors import BeitError
from tests.habits.pairs import both, made, pixels, transformers


@pytest.fixture
def folder(tmp_path):
    made(beit).save_pretrained(tmp_path)
    beit.BeitImageProcessor().save_pretrained(tmp_path)
    return tmp_path


def classifier(library):
    return library.BeitForImageClassification.from_pretrained


# by what is wrong: the class that is caught, what is done to the folder, and the call
WRONG = {
    "no folder": (OSError, None, lambda library, folder: classifier(library)(folder / "nowhere")),
    "no weights": (OSError, "model.safetensors", lambda library, folder: classifier(library)(folder)),
    "a config that is no JSON": (OSError, "config.json", lambda library, folder: classifier(library)(folder)),
    "the config of no JSON alone": (OSError, "config.json", lambda library, folder: configured(library, folder)),
    "a processor that is no JSON": (
        OSError,
        "preprocessor_config.json",
        lambda library, folder: library.BeitImageProcessor.from_pretrained(folder),
    ),
    "other sizes": (RuntimeError, None, lambda library, folder: classifier(library)(folder, hidden_size=64)),
    "no config": ((ValueError, TypeError), None, lambda library, folder: library.BeitModel({"hidden_size": 8})),
    "labels of another length": (
        ValueError,
        None,
        lambda library, folder: made(library)(pixels(), labels=torch.zeros(3, dtype=torch.long)),
    ),
    "a text as a picture": (ValueError, None, lambda library, folder: library.BeitImageProcessor()("text")),
}


def configured(library, folder):
    return library.BeitConfig.from_pretrained(folder)


@both
@pytest.mark.parametrize("what", WRONG)
def test_the_class_that_is_caught(what, folder, library, monkeypatch):
    monkeypatch.setitem(os.environ, "HF_HUB_OFFLINE", "1")
    caught, file, call = WRONG[what]
    if file is not None and file.endswith(".json"):
        (folder / file).write_text("{no")
    elif file is not None:
        (folder / file).unlink()
    with pytest.raises(caught) as error:
        call(library, folder)
    assert library is transformers or isinstance(error.value, BeitError)


def test_a_folder_without_its_config(folder):
    (folder / "config.json").unlink()
    with pytest.raises(OSError, match=r"has no config.json beside it; pass config=BeitConfig"):
        classifier(beit)(folder)


def test_parameters_of_flax_that_do_not_fit(folder):
    model = beit.FlaxBeitForImageClassification.from_pretrained(folder)
    with pytest.raises(ValueError, match="does not fit the model"):
        model.params = {"a": np.ones(1)}
    with pytest.raises(ValueError, match="does not fit the model"):
        beit.FlaxBeitForImageClassification.from_pretrained(folder, hidden_size=64)


@pytest.mark.parametrize("kind", [beit.BeitModel, beit.FlaxBeitModel, beit.AutoModel])
def test_configs_of_others(kind, folder):
    theirs = transformers.BeitConfig(**made(beit).config.to_dict())
    calls = [kind.from_config] if kind is beit.AutoModel else [kind]
    calls += [] if kind is beit.AutoModel else [lambda config: kind.from_pretrained(folder, config=config)]
    for call in calls:
        with pytest.raises(BeitError, match=r"config is transformers.BeitConfig; .* BeitConfig.from_dict"):
            call(theirs)
        with pytest.raises(BeitError, match=r"config is dict; expected a beit.BeitConfig: pass BeitConfig\(...\)"):
            call({"hidden_size": 8})
    with pytest.raises(BeitError, match=r"config is None; expected a beit.BeitConfig"):
        calls[0](None)
    call = kind.from_config if kind is beit.AutoModel else kind
    call(beit.BeitConfig.from_dict(theirs.to_dict()))
