"""One way to the files beside a model, whatever it is called by, for all that reads them."""

import json
import shutil

import pytest
from PIL import Image

from beit.errors import CheckpointError, ConfigError
from beit.hub import HubOptions
from beit.image import Preprocessing
from beit.image.model_view import (
    IMAGENET,
    checkpoint_statistics,
    evaluation_view,
    model_file,
    preprocessor_file,
    published_crop,
    saved_view,
)
from beit.image.timm_view import options_for_timm, timm_view
from tests.conftest import GOLDEN

NAME = "preprocessor_config.json"
OWN = Preprocessing((32, 32), (32, 32), (0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
PLAIN = GOLDEN / "hf_v4" / "classify_single"  # without a preprocessor of its own
TIMM = GOLDEN / "timm" / "beit"  # crop_pct 0.9
ORIGINAL = GOLDEN / "unilm" / "finetune" / "checkpoint.pth"


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
    assert saved_view("owner/model") == OWN
    assert len(repositories["asked"]) == 2
    assert saved_view("microsoft/beit-base-patch16-224") is None, "which asks nobody"
    assert len(repositories["asked"]) == 2


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


@pytest.mark.parametrize(
    ("side", "share", "resize"), [(224, 0.875, 256), (383, 0.875, 438), (384, 1.0, 384), (512, 1.0, 512)]
)
def test_the_published_crop(side, share, resize):
    assert published_crop((side, side)) == share
    for model in (PLAIN, ORIGINAL):
        view, origin = evaluation_view(str(model), (side, side))
        assert view == Preprocessing((side, side), resize, (0.5,) * 3, (0.5,) * 3, Image.Resampling.BICUBIC)
        assert origin == "the published evaluation"


@pytest.fixture
def with_preprocessor(tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(PLAIN, folder)
    own = Preprocessing((32, 32), (32, 32), (0.1, 0.2, 0.3), (0.4, 0.5, 0.6), Image.Resampling.BILINEAR)
    own.save_pretrained(folder)
    return folder, own


def test_the_models_own_preprocessor_wins(with_preprocessor):
    folder, own = with_preprocessor
    for model in (folder, folder / "model.safetensors"):
        assert evaluation_view(str(model), (32, 32)) == (own, "the model's preprocessor_config.json")


def test_a_preprocessor_beside_weights_without_a_config_is_of_something_else(with_preprocessor):
    folder, _ = with_preprocessor
    (folder / "config.json").unlink()
    assert evaluation_view(str(folder / "model.safetensors"), (32, 32))[1] == "the published evaluation"


def test_a_crop_that_is_asked_for_wins_over_both(with_preprocessor):
    folder, own = with_preprocessor
    view, origin = evaluation_view(str(folder), (32, 32), 0.5)
    assert view == Preprocessing((32, 32), 64, own.mean, own.std, Image.Resampling.BICUBIC)
    assert origin == "crop_share"
    assert evaluation_view(str(ORIGINAL), (384, 384), 0.8)[0].resize == 480


def test_a_published_name_is_asked_for_on_the_hub(monkeypatch, with_preprocessor):
    folder, own = with_preprocessor
    asked = []

    def hub_file(repository, name, options):
        asked.append((repository, name))
        return folder / name if repository.startswith("microsoft/") else None

    monkeypatch.setattr("beit.hub.repository.hub_file", hub_file)
    assert evaluation_view("beit_base_patch16_224_pt22k_ft22kto1k", (224, 224))[0] == own
    timm, origin = evaluation_view("beit_base_patch16_384.in22k_ft_in22k_in1k", (384, 384))
    assert (timm.resize, origin) == (384, "the published evaluation")
    assert asked == [
        ("microsoft/beit-base-patch16-224", "preprocessor_config.json"),
        ("timm/beit_base_patch16_384.in22k_ft_in22k_in1k", "preprocessor_config.json"),
        ("timm/beit_base_patch16_384.in22k_ft_in22k_in1k", "config.json"),
    ]
    evaluation_view("beit_base_patch16_224_pt22k_ft1k", (224, 224))
    assert len(asked) == 3, "Microsoft's own files come without one"


def test_a_timm_checkpoint_on_the_hub_is_seen_as_its_config_says(monkeypatch):
    found = {"config.json": TIMM / "config.json"}
    monkeypatch.setattr("beit.hub.repository.hub_file", lambda repository, name, options: found.get(name))
    view, origin = evaluation_view("beit_base_patch16_224.in22k_ft_in22k_in1k", (224, 224))
    assert (view.resize, origin) == (248, "the model's config.json (timm)")


@pytest.fixture
def timm_with(tmp_path):
    def write(**changes):
        folder = tmp_path / "timm"
        shutil.copytree(TIMM, folder, dirs_exist_ok=True)
        config = json.loads((TIMM / "config.json").read_text())
        config["pretrained_cfg"] |= changes
        (folder / "config.json").write_text(json.dumps(config))
        return folder

    return write


@pytest.mark.parametrize(
    ("share", "side", "resize"), [(0.9, 32, 35), (0.9, 224, 248), (0.875, 224, 256), (0.95, 384, 404), (1.0, 512, 512)]
)
def test_the_crop_of_timm_is_rounded_down(timm_with, share, side, resize):
    """As timm.data.transforms_imagenet_eval does: floor(224 / 0.9) is 248, where rounding gives 249."""
    folder = timm_with(crop_pct=share)
    for model in (folder, folder / "model.safetensors"):
        view, origin = evaluation_view(str(model), (side, side))
        assert view == Preprocessing((side, side), resize, (0.5,) * 3, (0.5,) * 3, Image.Resampling.BICUBIC)
        assert origin == "the model's config.json (timm)"


def test_the_statistics_filter_and_mode_of_timm(timm_with):
    mean, std = (0.1, 0.2, 0.3), (0.4, 0.5, 0.6)
    folder = timm_with(mean=mean, std=std, interpolation="bilinear", crop_mode="squash", crop_pct=0.5)
    view, _ = evaluation_view(str(folder), (32, 48))
    assert view == Preprocessing((32, 48), (64, 96), mean, std, Image.Resampling.BILINEAR)
    asked, origin = evaluation_view(str(folder), (32, 32), 0.8)
    assert (asked.resize, asked.mean, asked.std, origin) == (40, mean, std, "crop_share")
    silent, origin = evaluation_view(str(timm_with(mean=mean, std=std, crop_pct=None)), (32, 32))
    assert (silent.resize, silent.mean, origin) == (37, mean, "the published evaluation")


def test_a_preprocessor_wins_over_timm(timm_with, with_preprocessor):
    folder, (_, own) = timm_with(), with_preprocessor
    own.save_pretrained(folder)
    assert evaluation_view(str(folder), (32, 32))[0] == own


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"crop_pct": 1.5}, "crop_pct is 1.5; expected a number above 0, at most 1"),
        ({"crop_pct": "0.9"}, "crop_pct is '0.9'; expected a number"),
        ({"crop_mode": "border"}, "crop_mode is 'border'; expected center or squash"),
        ({"interpolation": "random"}, "interpolation is 'random'; expected bicubic"),
    ],
)
def test_what_timm_says_and_is_not_understood_is_named(timm_with, changes, message):
    folder = timm_with(**changes)
    with pytest.raises(ConfigError, match=f"{message}.*set crop_share"):
        evaluation_view(str(folder), (32, 32))
    assert evaluation_view(str(folder), (32, 32), 0.5)[1] == "crop_share"


def test_the_statistics_of_a_published_file_without_any_config(tmp_path):
    """BEiT v2 was trained with ImageNet's mean and deviation, which its files do not hold."""
    path = tmp_path / "beitv2_base_patch16_224_pt1k_ft21kto1k.pth"
    shutil.copy(ORIGINAL, path)
    view, origin = evaluation_view(str(path), (224, 224))
    assert (view.mean, view.std, origin) == (*IMAGENET, "the published evaluation")


def test_a_preprocessor_that_is_not_understood_is_named(with_preprocessor):
    folder, _ = with_preprocessor
    (folder / "preprocessor_config.json").write_text("[]")
    with pytest.raises(ConfigError, match="expected the options of a BeitImageProcessor"):
        evaluation_view(str(folder), (32, 32))


@pytest.mark.parametrize(
    ("image_hw", "resize", "crop"),
    [
        ((224, 224), 248, {"crop_pct": 0.9, "crop_mode": "center"}),
        ((224, 224), 256, {"crop_pct": 0.875, "crop_mode": "center"}),
        ((224, 224), (224, 224), {"crop_pct": 1.0, "crop_mode": "squash"}),
        ((32, 48), 53, {"crop_pct": 0.9, "crop_mode": "center"}),
        ((32, 48), (64, 96), {"crop_pct": 0.5, "crop_mode": "squash"}),
        ((32, 48), (64, 48), {}),  # timm has one share for both sides
        ((32, 32), 24, {}),  # and pads nothing
    ],
)
def test_a_view_in_timms_words(image_hw, resize, crop):
    view = Preprocessing(image_hw, resize, resample=Image.Resampling.BILINEAR)
    options = options_for_timm(view)
    said = {"interpolation": "bilinear", "mean": [0.5] * 3, "std": [0.5] * 3}
    assert options == said | crop
    if crop:
        assert timm_view(options, image_hw, (view.mean, view.std)) == view


def test_every_size_is_one_that_timm_makes():
    for side in (32, 224, 384):
        for resize in range(side, 2 * side):
            view = Preprocessing((side, side), resize)
            assert timm_view(options_for_timm(view), (side, side), (view.mean, view.std)) == view
