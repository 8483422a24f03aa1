"""`beit convert`."""

import pytest
from safetensors import safe_open

from beit import BeitForImageClassification
from beit.cli.main import main
from tests.conftest import GOLDEN

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
