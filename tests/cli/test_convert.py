"""`beit convert`."""

from dataclasses import replace

import pytest
import torch
from PIL import Image
from safetensors import safe_open

from beit import BeitForImageClassification, BeitForSemanticSegmentation, preset
from beit.cli.main import main
from beit.image import Preprocessing
from beit.models_torch.scene import SceneInference
from tests.conftest import GOLDEN, TINY_MODEL

SOURCE = str(GOLDEN / "unilm/finetune/checkpoint.pth")


@pytest.mark.parametrize("to", ["hf", "timm", "unilm", "flax"])
def test_convert(to, tmp_path, capsys):
    place = tmp_path / ("model.pth" if to == "unilm" else "model")
    assert main(["convert", SOURCE, str(place), "--to", to]) == 0
    assert capsys.readouterr().out.strip().endswith(f"model  {place}")
    assert BeitForImageClassification.from_pretrained(place).config.num_labels == 7


def test_convert_to_another_size_and_type(tmp_path, capsys):
    arguments = ["convert", SOURCE, str(tmp_path), "--to", "hf", "--image_size", "48", "--precision", "bf16"]
    assert main(arguments) == 0
    assert "resized from 4 x 4 to 6 x 6 patches by the authors' cubic method" in capsys.readouterr().out
    with safe_open(tmp_path / "model.safetensors", "pt") as file:
        assert file.get_slice("classifier.weight").get_dtype() == "BF16"


def test_convert_to_a_size_that_is_no_square(tmp_path, capsys):
    assert main(["convert", SOURCE, str(tmp_path), "--to", "hf", "--image_size", "48x32"]) == 0
    assert "from 4 x 4 to 6 x 4 patches" in capsys.readouterr().out


@pytest.mark.parametrize("to", ["hf", "flax"])
def test_what_lies_beside_a_model_goes_along(to, tmp_path, capsys):
    torch.manual_seed(0)
    options = {**TINY_MODEL, "num_hidden_layers": 4, "pool_scales": [2], "out_indices": [1, 2, 3, 4]}
    model = BeitForSemanticSegmentation(preset("tiny", **options, num_labels=3, use_auxiliary_head=False))
    source, same, larger = (tmp_path / name for name in ("source", "same", "larger"))
    model.save_pretrained(source)
    view = Preprocessing((32, 32), 36, (0.4, 0.5, 0.6), (0.2, 0.2, 0.3), Image.Resampling.BILINEAR)
    view.save_pretrained(source)
    scene = SceneInference(None, 48, (1.0, 1.5), True, view.mean, view.std)
    scene.save_pretrained(source)
    assert main(["convert", str(source), str(same), "--to", to]) == 0
    assert Preprocessing.from_pretrained(same) == view
    assert SceneInference.from_pretrained(same, (32, 32)) == scene
    capsys.readouterr()
    assert main(["convert", str(source), str(larger), "--to", to, "--image_size", "64"]) == 0
    assert Preprocessing.from_pretrained(larger) == replace(view, image_hw=(64, 64), resize=72)
    assert "scene_inference.json is left out, whose windows are of another size" in capsys.readouterr().out
    assert SceneInference.from_pretrained(larger, (64, 64)) == SceneInference.published((64, 64))


@pytest.mark.parametrize("resize", [32, 36, 37, (32, 32), (36, 36)])
def test_timm_shows_the_same_part_of_pictures(resize, tmp_path):
    model = BeitForImageClassification(preset("tiny", **TINY_MODEL, num_labels=3))
    model.save_pretrained(tmp_path / "source")
    view = Preprocessing((32, 32), resize, (0.4, 0.5, 0.6), (0.2, 0.2, 0.3))
    view.save_pretrained(tmp_path / "source")
    assert main(["convert", str(tmp_path / "source"), str(tmp_path / "timm"), "--to", "timm"]) == 0
    assert main(["convert", str(tmp_path / "timm"), str(tmp_path / "back"), "--to", "hf"]) == 0
    assert Preprocessing.from_pretrained(tmp_path / "back") == view


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([SOURCE, "out", "--to", "onnx"], "to: expected one of ['hf', 'timm', 'unilm', 'flax'], got onnx"),
        (["nothing/here/at/all", "out", "--to", "hf"], "nothing/here/at/all does not exist; expected a model folder"),
        ([str(GOLDEN / "hf_v4/mim"), "out", "--to", "timm"], "the timm layout has no name for the parameter"),
        ([SOURCE, "out", "--to", "hf", "--image_size", "50"], "image height 50 is not a multiple of patch size 8"),
        (
            [SOURCE, "out", "--to", "hf", "--image_size", "1x2x3"],
            "image_size is '1x2x3'; expected a side or HEIGHTxWIDTH",
        ),
        ([SOURCE, "out", "--to", "hf", "--image_size", "0"], "image_size is 0; expected a side or HEIGHTxWIDTH"),
        ([str(GOLDEN / "evil/evil_checkpoint.pth"), "out", "--to", "hf"], "wants to use"),
    ],
)
def test_what_cannot_be_converted_leaves_nothing(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BEIT_EVIL_MARKER", str(tmp_path / "marker"))
    assert main(["convert", *arguments]) == 1
    assert message in capsys.readouterr().err
    assert not any(tmp_path.iterdir())
