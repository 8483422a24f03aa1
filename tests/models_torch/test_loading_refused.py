"""What is refused when a model is loaded: options, configs and tensors that cannot be right."""

import json
import time

import pytest
import torch
from safetensors.torch import load_file, save_file

from beit import (
    BeitBackbone,
    BeitConfig,
    BeitForImageClassification,
    BeitForSemanticSegmentation,
    BeitModel,
)
from beit.errors import BeitError, CheckpointError, ConfigError
from beit.models_torch.conversion import convert
from tests.conftest import GOLDEN
from tests.models_torch.same import same_weights

CLASSIFIER = GOLDEN / "hf_v4/classify_single"


@pytest.mark.parametrize(
    ("weight_map", "message"),
    [
        (
            {"a": "../secret.safetensors"},
            r"names the shard '../secret.safetensors'; expected the name of a file beside",
        ),
        ({"a": "/etc/passwd"}, "names the shard '/etc/passwd'; expected the name of a file beside"),
        ({"a": "..\\secret"}, "expected the name of a file beside"),
        ({"a": ".."}, "expected the name of a file beside"),
        ({"a": 3}, "names the shard 3; expected"),
        ({"a": "gone.safetensors"}, "has no file 'gone.safetensors', which its index names"),
        ([], "has no weight_map"),
        ({}, "has no weight_map"),
        ({"a": "model.safetensors"}, "lists 'a' in model.safetensors, which does not hold it"),
    ],
)
def test_an_index_that_cannot_be_trusted(tmp_path, weight_map, message):
    (tmp_path.parent / "secret.safetensors").write_bytes(b"")
    folder = tmp_path / "model"
    folder.mkdir()
    save_file({"b": torch.zeros(1)}, folder / "model.safetensors")
    (folder / "model.safetensors").rename(folder / "shard.safetensors")
    text = json.dumps({"weight_map": weight_map}).replace("model.safetensors", "shard.safetensors")
    (folder / "model.safetensors.index.json").write_text(text)
    (folder / "config.json").write_text("{}")
    with pytest.raises(CheckpointError, match=message.replace("model.safetensors", "shard.safetensors")):
        BeitModel.from_pretrained(folder)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_label": 3}, "there is no option 'num_label'; did you mean num_labels?"),
        ({"bias_resize": "nearest"}, "bias_resize is 'nearest'; expected one of"),
        ({"config": BeitConfig(), "num_labels": 3}, r"config was given and \['num_labels'\] beside it"),
        ({"image_size": 7}, "image height 7 is not a multiple of patch size 8; resize to 8"),
        ({"hidden_size": 64}, "does not fit the model"),
    ],
)
def test_options_that_cannot_work(options, message):
    with pytest.raises(BeitError, match=message):
        BeitForImageClassification.from_pretrained(CLASSIFIER, **options)


@pytest.mark.parametrize(
    ("claims", "message"),
    [
        ({"num_hidden_layers": 10**9}, "num_hidden_layers is 1000000000; expected a whole number .* at most 1000"),
        ({"num_hidden_layers": 900}, r"it holds \[2\] layers, its config has 900"),
        (
            {"id2label": None, "label2id": None, "num_labels": 10**9},
            "num_labels is 1000000000; expected a whole number",
        ),
        ({"id2label": None, "label2id": None, "num_labels": 10**5}, "2 of another shape: classifier.bias"),
        ({"image_size": 2**20}, r"it holds \[52\] rows in a relative position bias table"),
        ({"hidden_size": 2**19}, r"it holds \[32\] hidden channels"),
        ({"intermediate_size": 2**23}, "of another shape"),
        ({"intermediate_size": 2**62}, "intermediate_size is 4611686018427387904; expected a whole number"),
    ],
)
def test_a_config_that_asks_for_more_than_the_file_holds(tmp_path, claims, message):
    """Nothing is allocated for what the file cannot fill."""
    (tmp_path / "model.safetensors").write_bytes((CLASSIFIER / "model.safetensors").read_bytes())
    config = json.loads((CLASSIFIER / "config.json").read_text()) | claims
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(BeitError, match=message):
        BeitForImageClassification.from_pretrained(tmp_path)


def test_a_name_that_is_nothing(tmp_path):
    with pytest.raises(CheckpointError, match=r"does not exist; expected a model folder, a file of weights, a hub"):
        BeitModel.from_pretrained(tmp_path / "nothing")


def test_a_checkpoint_of_something_else(tmp_path):
    save_file({"conv1.weight": torch.zeros(3)}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"holds 1 tensors such as \['conv1.weight'\]; expected a BEiT in one of"):
        BeitModel.from_pretrained(tmp_path)


def test_a_pyramid_under_unknown_names_is_not_replaced_by_a_random_one(tmp_path):
    folder = GOLDEN / "hf_v4/backbone_fpn"
    tensors = load_file(folder / "model.safetensors")
    save_file(
        {name.replace("fpn1", "fpnX"): tensor for name, tensor in tensors.items()}, tmp_path / "model.safetensors"
    )
    (tmp_path / "config.json").write_text((folder / "config.json").read_text())
    with pytest.raises(CheckpointError, match=r"unknown: .*fpnX.0.bias"):
        BeitBackbone.from_pretrained(tmp_path)


HOSTILE_CONFIGS = {
    "self": {"self": 1},
    "labels as a list": {"label2id": [1, 2]},
    "labels without numbers": {"label2id": {"a": "x"}},
    "many channels": {"num_channels": 2**60},
    "many scales": {"pool_scales": [1] * 20_000},
    "long names": {"out_indices": ["x" * 10**6]},
    "another library's function": {"architectures": ["register_outputs"], "hidden_size": 64},
    "a module": {"architectures": ["backbone"]},
    "a dunder": {"architectures": ["__name__"]},
    "another kind": {"model_type": "vit"},
    "no names": {"id2label": 7},
}


HOSTILE_TEXTS = {"a long number": '{"hidden_size": ' + "9" * 5000 + "}", "nested": "[" * 200_000, "bytes": "\x00\x01"}


@pytest.mark.parametrize("name", [*HOSTILE_CONFIGS, *HOSTILE_TEXTS])
def test_hostile_configs(name, tmp_path):
    """Refused in words of ours, in short, by every way in; what only conversion looks at may load."""
    (tmp_path / "model.safetensors").write_bytes((CLASSIFIER / "model.safetensors").read_bytes())
    config = json.loads((CLASSIFIER / "config.json").read_text()) | HOSTILE_CONFIGS.get(name, {})
    (tmp_path / "config.json").write_text(HOSTILE_TEXTS.get(name) or json.dumps(config))
    began, refused = time.process_time(), []
    for way in (
        lambda: BeitForImageClassification.from_pretrained(tmp_path),
        lambda: convert(tmp_path, tmp_path / "out", "hf"),
        lambda: BeitConfig.from_pretrained(tmp_path),
    ):
        try:
            way()
        except BeitError as error:
            refused.append(str(error))
    assert refused, "at least one way says no, and none raises anything else"
    assert max(map(len, refused)) < 1000
    assert time.process_time() - began < 3


@pytest.mark.parametrize("found", [{"model_args": 5}, {"pretrained_cfg": [1]}, {"pretrained_cfg": {"input_size": 5}}])
def test_a_strange_timm_config_changes_nothing(found, tmp_path):
    folder = GOLDEN / "timm/beit"
    (tmp_path / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
    (tmp_path / "config.json").write_text(json.dumps({"architecture": "beit_base_patch16_224", **found}))
    size = {"image_size": 5} if "pretrained_cfg" in found and isinstance(found["pretrained_cfg"], dict) else {}
    if size:
        with pytest.raises(BeitError):  # 5 pixels are no multiple of a patch
            BeitForImageClassification.from_pretrained(tmp_path)
    else:
        reference = BeitForImageClassification.from_pretrained(folder)
        assert same_weights(BeitForImageClassification.from_pretrained(tmp_path), reference)
    with pytest.raises(ConfigError, match="describes a model of type 'timm'; expected 'beit'"):
        BeitConfig.from_pretrained(tmp_path)


def test_tensors_on_top_of_one_another_are_refused(tmp_path):
    """A small file that would fill the memory, because all its tensors share the same bytes."""
    block = torch.zeros(4_000_000)
    state = {
        f"blocks.{layer}.{name}": block[: rows * columns].view(rows, columns)
        for layer in range(40)
        for name, rows, columns in (("mlp.fc1.weight", 4000, 1000), ("attn.qkv.weight", 3000, 1000))
    }
    torch.save(state, tmp_path / "bomb.pth")
    assert (tmp_path / "bomb.pth").stat().st_size < 17_000_000
    with pytest.raises(CheckpointError, match=r"lists 1120000000 bytes of tensors in a file of 16"):
        BeitModel.from_pretrained(tmp_path / "bomb.pth")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda t: t.pop("decode_head.fpn_bottleneck.conv.weight"),
            "1 missing: decode_head.fpn_bottleneck.conv.weight",
        ),
        (lambda t: t.update({"decode_head.bogus.conv.weight": torch.zeros(1)}), "1 unknown: decode_head.bogus.conv"),
        (lambda t: t.update({"decode_head.clasifier.weight": t.pop("decode_head.classifier.weight")}), "1 missing"),
        (lambda t: t.pop("fpn1.0.weight"), "1 missing: fpn1.0.weight"),
    ],
)
def test_a_head_is_there_as_a_whole_or_not_at_all(change, message, tmp_path):
    folder = GOLDEN / "hf_v4/segment"
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text((folder / "config.json").read_text())
    with pytest.raises(CheckpointError, match=message):
        BeitForSemanticSegmentation.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "nonsense"}, "device is 'nonsense' .*expected cpu, cuda, cuda:N or auto"),
        ({"device_map": {"": "nowhere"}}, "device is 'nowhere' .*expected cpu, cuda, cuda:N or auto"),
        ({"variant": "fp16"}, r"does not hold weights; expected one of \['model.fp16.safetensors', "),
        ({"proxies": {"https": "a"}}, "proxies was given; it is not supported, leave it out"),
        ({"add_pooling_layer": False}, "there is no option 'add_pooling_layer'"),
    ],
)
def test_arguments_that_are_not_done_here(options, message):
    with pytest.raises(ConfigError, match=message):
        BeitForImageClassification.from_pretrained(CLASSIFIER, **options)
