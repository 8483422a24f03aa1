"""data2vec vision models: recorded outputs of transformers 5.23, names on both sides, and conversion."""

import json

import numpy as np
import pytest
import torch

import beit
from beit import (
    BeitConfig,
    Data2VecVisionConfig,
    Data2VecVisionForImageClassification,
    Data2VecVisionForSemanticSegmentation,
    Data2VecVisionModel,
    Predictor,
)
from beit.errors import ConfigError
from beit.models_torch.conversion import convert
from tests.conftest import GOLDEN
from tests.parity.cases import numbered

FOLDER = GOLDEN / "data2vec"
CASES = sorted(folder.name for folder in FOLDER.iterdir())
SEGMENTATION = {"image_size": 32, "patch_size": 8, "hidden_size": 32, "num_attention_heads": 4, "intermediate_size": 64}


@pytest.fixture(params=CASES)
def case(request):
    folder = FOLDER / request.param
    said = json.loads((folder / "case.json").read_text())
    io = dict(np.load(folder / "io.npz"))
    return folder, said["class"], io, {name: torch.from_numpy(io[name]) for name in said["inputs"]}


def outputs(model, inputs):
    with torch.no_grad():
        return model(**inputs, output_hidden_states=True, output_attentions=True)


@pytest.mark.parametrize("family", ["Data2VecVision", "Beit"])
def test_recorded_outputs(case, family):
    """By the class of its name, and by that of BEiT, whose architecture it is."""
    folder, kind, io, inputs = case
    ours = getattr(beit, kind.replace("Data2VecVision", family))
    options = {"add_pooling_layer": False} if ours is beit.BeitModel else {}
    model = ours.from_pretrained(folder, **options)
    assert model.load_report.silent
    output = outputs(model, inputs)
    for name in {"loss", "logits", "last_hidden_state"} & io.keys():
        np.testing.assert_allclose(output[name].numpy(), io[name], atol=1e-5, rtol=1e-5, err_msg=name)
    for name in ("hidden_states", "attentions"):
        references = numbered(io, name)
        assert len(output[name]) == len(references) > 0
        for value, reference in zip(output[name], references, strict=True):
            np.testing.assert_allclose(value.numpy(), reference, atol=1e-5, rtol=1e-5, err_msg=name)


def test_it_is_written_under_its_own_names(case, tmp_path):
    folder, kind, _, inputs = case
    model = getattr(beit, kind).from_pretrained(folder)
    model.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert (config["model_type"], config["architectures"]) == ("data2vec-vision", [kind])
    assert not {"vocab_size", "stage_names", "add_fpn"} & config.keys()
    again = getattr(beit, kind).from_pretrained(tmp_path)
    of_the_file = {"dtype", "torch_dtype", "transformers_version"}
    before, after = (one.config.to_dict() for one in (model, again))
    assert {key: before[key] for key in before.keys() - of_the_file} == {
        key: after[key] for key in after.keys() - of_the_file
    }
    assert again.state_dict().keys() == model.state_dict().keys()
    assert torch.equal(outputs(again, inputs)[0], outputs(model, inputs)[0])
    again.load_weights(folder, strict=True)


def test_transformers_reads_it(case, tmp_path):
    transformers = pytest.importorskip("transformers")
    folder, kind, io, inputs = case
    if "Segmentation" in kind:
        pytest.skip("5.x has no mapping from the published names of its heads, as it has for BEiT's")
    getattr(beit, kind).from_pretrained(folder).save_pretrained(tmp_path)
    model, said = getattr(transformers, kind).from_pretrained(tmp_path, output_loading_info=True)
    assert not said["missing_keys"]
    assert not said["unexpected_keys"]
    with torch.no_grad():
        output = model.eval()(**inputs)
    name = next(name for name in ("logits", "last_hidden_state") if name in io)
    np.testing.assert_allclose(output[name].numpy(), io[name], atol=1e-5, rtol=1e-5)


def test_the_encoder_has_the_name_that_code_for_it_uses():
    model = Data2VecVisionForImageClassification.from_pretrained(FOLDER / "classify")
    assert model.data2vec_vision is model.beit is model.base_model
    assert {name.split(".")[0] for name in model.state_dict()} == {"data2vec_vision", "classifier"}
    assert next(iter(dict(model.named_children()))) == "data2vec_vision"
    model(torch.zeros(1, 3, 32, 32)).logits.sum().backward()
    assert all(parameter.grad is not None for parameter in model.data2vec_vision.embeddings.parameters())


def test_another_number_of_classes_is_a_new_head():
    model = Data2VecVisionForImageClassification.from_pretrained(FOLDER / "classify", num_labels=3)
    assert model.load_report.new == ["classifier.bias", "classifier.weight"]
    assert model.classifier.out_features == 3


@pytest.mark.parametrize("to", ["hf", "timm", "flax"])
def test_it_is_converted(tmp_path, to):
    convert(FOLDER / "classify", tmp_path, to)
    io = np.load(FOLDER / "classify/io.npz")
    logits = beit.BeitForImageClassification.from_pretrained(tmp_path, layer_norm_eps=1e-12)(
        torch.from_numpy(io["pixel_values"])
    ).logits
    np.testing.assert_allclose(logits.detach().numpy(), io["logits"], atol=1e-5, rtol=1e-5)


def test_segmenters_and_encoders_are_converted(tmp_path):
    for name in ("segment", "model"):
        convert(FOLDER / name, tmp_path / name, "hf")
        assert json.loads((tmp_path / name / "config.json").read_text())["model_type"] == "beit"
    io = np.load(FOLDER / "segment/io.npz")
    with torch.no_grad():
        logits = beit.BeitForSemanticSegmentation.from_pretrained(tmp_path / "segment")(
            torch.from_numpy(io["pixel_values"])
        ).logits
    np.testing.assert_allclose(logits.numpy(), io["logits"], atol=1e-5, rtol=1e-5)


def test_a_predictor_takes_it(tmp_path):
    model = Data2VecVisionForImageClassification.from_pretrained(FOLDER / "classify")
    model.save_pretrained(tmp_path)
    beit.BeitImageProcessor(size=32, crop_size=32, do_center_crop=False).save_pretrained(tmp_path)
    picture = np.zeros((40, 40, 3), np.uint8)
    assert len(Predictor.from_pretrained(tmp_path, device="cpu").classify([picture])[0].labels) == 5


def test_config():
    assert Data2VecVisionConfig().out_indices == [3, 5, 7, 11]
    assert Data2VecVisionConfig(num_hidden_layers=2).out_indices == [2]
    with pytest.raises(ConfigError, match="out_indices holds 9"):
        Data2VecVisionConfig(num_hidden_layers=2, out_indices=[1, 9])
    with pytest.raises(TypeError, match="positional"):
        Data2VecVisionConfig(768)
    written = {"model_type": "data2vec-vision", "num_hidden_layers": 2, "out_indices": [3, 5, 7, 11]}
    for kind in (Data2VecVisionConfig, BeitConfig):  # what transformers writes for a small model
        assert kind.from_dict(written).out_indices == [2]
    with pytest.raises(ConfigError, match="of type 'vit'; expected 'beit' or 'data2vec-vision'"):
        Data2VecVisionConfig.check_kind({"model_type": "vit"}, "x")
    assert Data2VecVisionModel(Data2VecVisionConfig(**SEGMENTATION, num_hidden_layers=1)).pooler is None
    deep = Data2VecVisionConfig(**SEGMENTATION)
    assert Data2VecVisionForSemanticSegmentation(deep).taps == (2, 4, 6, 10)
