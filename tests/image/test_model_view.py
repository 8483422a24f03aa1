"""One way to the files beside a model, whatever it is called by, for all that reads them."""

import shutil

import pytest

from beit.errors import CheckpointError
from beit.hub import HubOptions
from beit.image import Preprocessing
from beit.image.model_view import checkpoint_statistics, evaluation_view, model_file, preprocessor_file, saved_view
from tests.conftest import GOLDEN

NAME = "preprocessor_config.json"
OWN = Preprocessing((32, 32), (32, 32), (0.1, 0.2, 0.3), (0.4, 0.5, 0.6))


@pytest.fixture
def folder(tmp_path):
    place = shutil.copytree(GOLDEN / "hf_v4" / "classify_single", tmp_path / "model")
    OWN.save_pretrained(place)
    return place


@pytest.fixture
def repositories(monkeypatch):
    """Files of the hub by (repository, name); what was asked for is recorded under "asked"."""
    files = {"asked": []}

    def hub_file(repository, name, options):
        files["asked"].append((repository, name, options))
        return files.get((repository, name))

    monkeypatch.setattr("beit.hub.repository.hub_file", hub_file)
    return files


def read(model):
    """What each reader takes from beside a model."""
    saved = saved_view(model)
    return {
        "evaluation": evaluation_view(str(model), (32, 32))[0].mean,
        "saved": None if saved is None else saved.mean,
        "statistics": (checkpoint_statistics(str(model)) or (None,))[0],
    }


def test_a_folder_and_a_file_in_it(folder):
    for model in (folder, folder / "model.safetensors"):
        assert preprocessor_file(model) == folder / NAME
        assert read(model) == dict.fromkeys(("evaluation", "saved", "statistics"), OWN.mean)
    (folder / NAME).unlink()
    assert model_file(folder, NAME) is None


def test_without_a_config_what_lies_beside_a_file_is_of_something_else(folder):
    """Every reader leaves it alone: fine-tuning, too, must not take another model's mean and deviation."""
    (folder / "config.json").unlink()
    assert read(folder / "model.safetensors") == {"evaluation": (0.5,) * 3, "saved": None, "statistics": None}


def test_a_folder_inside_the_folder(folder, tmp_path):
    (tmp_path / "outer").mkdir()
    folder.rename(tmp_path / "outer" / "inner")
    hub = HubOptions(subfolder="inner")
    assert preprocessor_file(tmp_path / "outer", hub) == tmp_path / "outer" / "inner" / NAME
    assert checkpoint_statistics(str(tmp_path / "outer"), hub) == (OWN.mean, OWN.std)


def test_what_the_package_brings_lies_on_this_machine():
    assert saved_view("beit/nano-cifar10") == Preprocessing.from_pretrained("beit/nano-cifar10")
    assert checkpoint_statistics("beit/nano-cifar10") is not None


def test_names_on_the_hub_are_asked_with_the_callers_options(folder, repositories):
    hub = HubOptions(revision="v2", token=True)
    repositories["owner/model", NAME] = folder / NAME
    assert checkpoint_statistics("owner/model", hub) == (OWN.mean, OWN.std)
    assert repositories["asked"] == [("owner/model", NAME, hub)]
    assert saved_view("owner/model") is None, "which asks nobody"
    assert len(repositories["asked"]) == 1


def test_timms_config_on_the_hub_is_read_for_the_statistics(repositories):
    repositories["owner/of-timm", "config.json"] = GOLDEN / "timm" / "beit" / "config.json"
    assert checkpoint_statistics("owner/of-timm") == ((0.5,) * 3, (0.5,) * 3)


def test_published_names_stand_for_their_repository(repositories):
    preprocessor_file("beit_base_patch16_224_pt22k_ft22kto1k")
    assert [asked[:2] for asked in repositories["asked"]] == [("microsoft/beit-base-patch16-224", NAME)]
    assert model_file("beit_base_patch16_224_pt22k_ft1k", NAME) is None, "a file of Microsoft's alone"
    assert checkpoint_statistics("beit_base_patch16_224_pt22k_ft22kto1k") == ((0.5,) * 3, (0.5,) * 3)
    assert len(repositories["asked"]) == 1, "the statistics of published names are known"


def test_a_hub_that_cannot_be_reached_is_no_absent_file(monkeypatch):
    def hub_file(*_):
        raise CheckpointError("the connection failed")

    monkeypatch.setattr("beit.hub.repository.hub_file", hub_file)
    with pytest.raises(CheckpointError, match="the connection failed"):
        checkpoint_statistics("owner/model")
