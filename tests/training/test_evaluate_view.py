import shutil

import pytest
from PIL import Image

from beit.errors import ConfigError
from beit.image import Preprocessing
from beit.training.evaluation_view import evaluation_view, published_crop
from tests.conftest import GOLDEN

PLAIN = GOLDEN / "hf_v4" / "classify_single"  # without a preprocessor of its own
ORIGINAL = GOLDEN / "unilm" / "finetune" / "checkpoint.pth"


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

    monkeypatch.setattr("beit.training.evaluation_view.hub_file", hub_file)
    assert evaluation_view("beit_base_patch16_224_pt22k_ft22kto1k", (224, 224))[0] == own
    timm, origin = evaluation_view("beit_base_patch16_384.in22k_ft_in22k_in1k", (384, 384))
    assert (timm.resize, origin) == (384, "the published evaluation")
    assert [name for name, _ in asked] == [
        "microsoft/beit-base-patch16-224",
        "timm/beit_base_patch16_384.in22k_ft_in22k_in1k",
    ]
    evaluation_view("beit_base_patch16_224_pt22k_ft1k", (224, 224))
    assert len(asked) == 2, "Microsoft's own files come without one"


def test_a_preprocessor_that_is_not_understood_is_told(with_preprocessor):
    folder, _ = with_preprocessor
    (folder / "preprocessor_config.json").write_text("[]")
    with pytest.raises(ConfigError, match="expected the options of a BeitImageProcessor"):
        evaluation_view(str(folder), (32, 32))
