"""Loading of models from every kind of source: reports, errors and memory."""

import json
import shutil
import subprocess
import sys
import time

import pytest
import torch
from safetensors.torch import load_file, save_file

from beit import (
    BeitBackbone,
    BeitConfig,
    BeitForImageClassification,
    BeitForMaskedImageModeling,
    BeitForSemanticSegmentation,
    BeitModel,
    catalog,
)
from beit.errors import BeitError, CheckpointError, ConfigError
from beit.models_torch.conversion import WRITERS, convert
from tests.conftest import GOLDEN, TINY_MODEL
from tests.fake_hub import FakeHub

CLASSIFIER = GOLDEN / "hf_v4/classify_single"


def equal(one, other):
    one, other = one.state_dict(), other.state_dict()
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture
def reference():
    return BeitForImageClassification.from_pretrained(CLASSIFIER)


@pytest.mark.parametrize("file", ["model.safetensors", "pytorch_model.bin"])
def test_a_single_file(reference, file):
    assert equal(BeitForImageClassification.from_pretrained(CLASSIFIER / file), reference)


def test_a_single_file_without_its_config(reference, tmp_path):
    (tmp_path / "weights.safetensors").write_bytes((CLASSIFIER / "model.safetensors").read_bytes())
    with pytest.raises(ConfigError, match=r"has no config.json beside it; pass config=BeitConfig"):
        BeitForImageClassification.from_pretrained(tmp_path / "weights.safetensors")
    model = BeitForImageClassification.from_pretrained(tmp_path / "weights.safetensors", config=reference.config)
    assert equal(model, reference)
    assert equal(
        BeitForImageClassification.from_pretrained(tmp_path / "weights.safetensors", config=CLASSIFIER), reference
    )


@pytest.mark.parametrize("kind", ["safetensors", "bin"])
def test_shards(reference, tmp_path, kind):
    tensors = load_file(CLASSIFIER / "model.safetensors")
    names = sorted(tensors)
    index, base = {}, "model" if kind == "safetensors" else "pytorch_model"
    for number, part in enumerate((names[:7], names[7:]), start=1):
        file = f"{base}-{number:05}-of-00002.{kind}"
        content = {name: tensors[name] for name in part}
        save_file(content, tmp_path / file) if kind == "safetensors" else torch.save(content, tmp_path / file)
        index |= dict.fromkeys(part, file)
    (tmp_path / f"{base}.{kind}.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}))
    (tmp_path / "config.json").write_text((CLASSIFIER / "config.json").read_text())
    assert equal(BeitForImageClassification.from_pretrained(tmp_path), reference)


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


@pytest.mark.parametrize(("name", "dtype"), [("float16", torch.float16), ("torch.bfloat16", torch.bfloat16)])
def test_types(tmp_path, name, dtype):
    half = BeitForImageClassification.from_pretrained(CLASSIFIER, dtype=name, layer_norm_eps=1e-6)
    assert half.dtype == dtype
    half.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["torch_dtype"] == str(dtype).removeprefix("torch.")
    assert BeitForImageClassification.from_pretrained(tmp_path).dtype == torch.float32
    again = BeitForImageClassification.from_pretrained(tmp_path, torch_dtype="auto")
    assert again.dtype == dtype
    assert equal(again, half)
    with pytest.raises(ConfigError, match="dtype is 'int8'; expected auto or one of"):
        BeitForImageClassification.from_pretrained(tmp_path, dtype="int8")


def test_bfloat16_tables_are_resized_by_value(tmp_path):
    model = BeitForImageClassification.from_pretrained(CLASSIFIER, dtype=torch.bfloat16, layer_norm_eps=1e-6)
    model.save_pretrained(tmp_path)
    exact = BeitForImageClassification.from_pretrained(CLASSIFIER, image_size=48)
    for options in ({"dtype": "auto"}, {}):
        ours = BeitForImageClassification.from_pretrained(tmp_path, image_size=48, **options)
        table = "beit.encoder.layer.0.attention.attention.relative_position_bias.relative_position_bias_table"
        torch.testing.assert_close(ours.get_parameter(table).float(), exact.get_parameter(table), atol=0.05, rtol=0.05)


def test_a_new_head_is_announced(caplog):
    model, info = BeitForImageClassification.from_pretrained(
        CLASSIFIER, id2label={0: "cat", 1: "dog", 2: "fish"}, output_loading_info=True
    )
    assert model.config.class_names == ["cat", "dog", "fish"]
    assert model.load_report.new == info["mismatched_keys"] == ["classifier.bias", "classifier.weight"]
    assert info["missing_keys"] == info["unexpected_keys"] == info["error_msgs"] == []
    assert "new, not from the checkpoint: classifier.bias, classifier.weight" in caplog.text
    assert model.classifier.weight.abs().max() <= 0.02 * 0.001 + 1e-9, "it starts near zero"
    assert not model.classifier.bias.any()


def test_a_mask_token_that_the_checkpoint_lacks():
    model = BeitForMaskedImageModeling.from_pretrained(CLASSIFIER, use_mask_token=True, vocab_size=64)
    assert "beit.embeddings.mask_token" in model.load_report.missing
    assert 0 < model.beit.embeddings.mask_token.abs().max() <= 0.02
    reference = BeitModel.from_pretrained(CLASSIFIER)
    assert torch.equal(model.beit.embeddings.cls_token, reference.embeddings.cls_token), "its neighbours are loaded"


def test_a_backbone_of_a_segmenting_model():
    model = BeitBackbone.from_pretrained(GOLDEN / "hf_v4/segment", add_fpn=True)
    assert model.load_report.new == []
    assert any(name.startswith("head:decode_head") for name in model.load_report.unexpected)
    assert len(model(torch.zeros(1, 3, 32, 32)).feature_maps) == 4


def test_a_bare_model_without_its_pooler():
    model = BeitModel.from_pretrained(CLASSIFIER, add_pooling_layer=False)
    assert model.pooler is None
    assert model(torch.zeros(1, 3, 32, 32)).pooler_output is None


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


def test_arguments_of_the_published_api_are_accepted(reference):
    model = BeitForImageClassification.from_pretrained(
        CLASSIFIER, low_cpu_mem_usage=True, use_safetensors=True, ignore_mismatched_sizes=True, trust_remote_code=True
    )
    assert equal(model, reference)


def test_a_name_that_is_nothing(tmp_path):
    with pytest.raises(CheckpointError, match=r"does not exist; expected a model folder, a file of weights, a hub"):
        BeitModel.from_pretrained(tmp_path / "nothing")


def test_a_checkpoint_of_something_else(tmp_path):
    save_file({"conv1.weight": torch.zeros(3)}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"holds 1 tensors such as \['conv1.weight'\]; expected a BEiT in one of"):
        BeitModel.from_pretrained(tmp_path)


def test_heads_that_an_original_checkpoint_does_not_name():
    file = GOLDEN / "unilm/finetune_released/checkpoint.pth"
    with pytest.raises(CheckpointError, match=r"shows no number of attention heads; .*pass num_attention_heads"):
        BeitForImageClassification.from_pretrained(file)
    assert BeitForImageClassification.from_pretrained(file, num_attention_heads=4).config.num_attention_heads == 4


@pytest.mark.parametrize("checkpoint", catalog.PUBLIC_CHECKPOINTS, ids=lambda checkpoint: checkpoint.original)
def test_every_spelling_leads_to_the_checkpoint(checkpoint):
    for spelling in checkpoint.spellings:
        found = catalog.public_checkpoint(spelling)
        assert found.original == checkpoint.original
        assert found.hub is not None or found.timm is None
    assert checkpoint.url.startswith("https://")


@pytest.mark.e2e
def test_published_names_in_three_spellings(tmp_path):
    """Each from where it is published; the segmentation that Microsoft published reads the original layers."""

    original, timm = GOLDEN / "unilm/finetune/checkpoint.pth", GOLDEN / "timm/beit"
    release = tmp_path / "release" / "beit_base_patch16_224_pt22k_ft1k.pth"
    release.parent.mkdir()
    shutil.copy(original, release)
    segment = tmp_path / "segment"
    shutil.copytree(GOLDEN / "hf_v4/segment", segment)
    config = json.loads((segment / "config.json").read_text())
    config |= {"out_indices": [1, 2, 3, 5], "out_features": ["stage1", "stage2", "stage3", "stage5"]}
    (segment / "config.json").write_text(json.dumps(config))
    with FakeHub() as hub:
        hub.add("microsoft/beit-base-patch16-224-pt22k-ft22k", CLASSIFIER)
        hub.add("timm/beit_base_patch16_224.in22k_ft_in22k", timm)
        hub.add("microsoft/beit-base-finetuned-ade-640-640", segment)
        hub.add("some/files", release.parent)
        address = hub.address("some/files", release.name).rsplit("/", 1)[0]
        code = f"""
from pathlib import Path
from beit import BeitForImageClassification, BeitForSemanticSegmentation, catalog
catalog.PublicCheckpoint.url = property(lambda self: {address!r} + "/" + self.original + ".pth")
for name in ("microsoft/beit-base-patch16-224-pt22k-ft22k", "beit_base_patch16_224_pt22k_ft22k",
             "beit_base_patch16_224.in22k_ft_in22k", "timm/beit_base_patch16_224.in22k_ft_in22k",
             "beit_base_patch16_224_pt22k_ft1k", "beit_base_patch16_224_pt22k_ft1k.pth"):
    print(BeitForImageClassification.from_pretrained(name).config.num_labels)
for name in ("microsoft/beit-base-finetuned-ade-640-640", "beit_base_patch16_640_pt22k_ft22ktoade20k"):
    print(BeitForSemanticSegmentation.from_pretrained(name).taps)
model = BeitForSemanticSegmentation.from_pretrained(name, out_indices_meaning="huggingface")
print(model.taps)
"""
        process = hub.python(code, tmp_path / "home")
        output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors[-2000:]
    assert output.split("\n")[:6] == ["5", "5", "7", "7", "7", "7"]
    assert output.split("\n")[6:9] == ["(2, 3, 4, 6)", "(2, 3, 4, 6)", "(0, 1, 2, 4)"]


MEASURE = """
import sys
import torch
from beit import BeitForMaskedImageModeling, BeitForImageClassification
from beit.weights import open_checkpoint
def high_water():
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1]) * 1024
kind = {"hf": BeitForMaskedImageModeling}.get(sys.argv[2], BeitForImageClassification)
kind.from_pretrained(sys.argv[3], **({"num_attention_heads": 4} if sys.argv[3].endswith(".pth") else {}))  # warm up
before = high_water()
model = kind.from_pretrained(sys.argv[1])
weights = sum(p.numel() * p.element_size() for p in model.parameters())
print((high_water() - before) / weights, weights)
"""


@pytest.mark.e2e
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads the high-water mark of Linux")
@pytest.mark.parametrize("to", WRITERS)
def test_peak_memory_is_at_most_a_fifth_above_the_weights(to, tmp_path):
    options = {"num_hidden_layers": 6, "use_relative_position_bias": True, "layer_norm_eps": 1e-6}
    if to == "hf":
        model = BeitForMaskedImageModeling(BeitConfig(**options, use_mask_token=True))
    else:
        model = BeitForImageClassification(BeitConfig(**options, num_labels=1000))
    model.save_pretrained(tmp_path / "hf")
    small = tmp_path / ("small.pth" if to == "unilm" else "small")
    source = GOLDEN / "hf_v4/mim" if to == "hf" else CLASSIFIER
    convert(source, small, to)
    place = tmp_path / ("large.pth" if to == "unilm" else "large")
    convert(tmp_path / "hf", place, to)
    command = [sys.executable, "-c", MEASURE, str(place), to, str(small)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    share, weights = map(float, done.stdout.split())
    assert weights > 160e6
    assert share <= 1.2, f"{share:.2f} times the weights"


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
        assert equal(BeitForImageClassification.from_pretrained(tmp_path), reference)
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


def test_a_model_that_was_tuned_elsewhere_keeps_its_layers(tmp_path):
    """transformers notes where a model started; that says nothing about the layers it reads."""
    shutil.copytree(GOLDEN / "hf_v4/segment", tmp_path, dirs_exist_ok=True)
    config = json.loads((tmp_path / "config.json").read_text())
    config |= {"_name_or_path": "microsoft/beit-base-finetuned-ade-640-640"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert BeitForSemanticSegmentation.from_pretrained(tmp_path).taps == (1, 2, 3, 5)


def test_files_that_are_asked_for(tmp_path, reference):
    for file in ("config.json", "pytorch_model.bin"):
        shutil.copy(CLASSIFIER / file, tmp_path)
    shutil.copy(GOLDEN / "hf_flax/classify_mean/flax_model.msgpack", tmp_path)
    assert equal(BeitForImageClassification.from_pretrained(tmp_path, use_safetensors=False), reference)
    with pytest.raises(CheckpointError, match=r"does not hold weights; expected one of \['model.safetensors'"):
        BeitForImageClassification.from_pretrained(tmp_path, use_safetensors=True)
    flax = BeitForImageClassification.from_pretrained(tmp_path, from_flax=True)
    assert not equal(flax, reference)
    assert equal(flax, BeitForImageClassification.from_pretrained(GOLDEN / "hf_flax/classify_mean"))


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


def test_saving_by_the_published_arguments(reference, tmp_path):
    reference.save_pretrained(tmp_path / "other", is_main_process=False)
    assert not (tmp_path / "other").exists()
    with pytest.raises(ConfigError, match=r"save_pretrained does not know \['colour'\]"):
        reference.save_pretrained(tmp_path, colour=1)
    gathered = {name: tensor * 2 for name, tensor in reference.state_dict().items()}
    reference.save_pretrained(tmp_path, state_dict=gathered, safe_serialization=True, max_shard_size="5GB")
    saved = BeitForImageClassification.from_pretrained(tmp_path).state_dict()
    assert all(torch.equal(saved[name], gathered[name]) for name in gathered)


def test_many_classes_through_the_original_layout(tmp_path):
    config = BeitConfig(**TINY_MODEL, num_labels=50_000)
    BeitForImageClassification(config).save_pretrained(tmp_path / "hf")
    convert(tmp_path / "hf", tmp_path / "model.pth", "unilm")
    assert BeitForImageClassification.from_pretrained(tmp_path / "model.pth").config.num_labels == 50_000


@pytest.mark.parametrize("to", ["timm", "unilm"])
def test_what_a_layout_cannot_say_is_said(to, tmp_path):
    report = convert(CLASSIFIER, tmp_path / "out", to)
    assert any("layer_norm_eps is 1e-12; the code that reads this layout uses 1e-06" in line for line in report.adapted)
    config = BeitConfig(**TINY_MODEL, hidden_act="relu")
    BeitForImageClassification(config).save_pretrained(tmp_path / "relu")
    with pytest.raises(ConfigError, match=r"hidden_act is 'relu'; .* has gelu only, use another layout"):
        convert(tmp_path / "relu", tmp_path / "no", to)
    assert not (tmp_path / "no" / "config.json").exists()


HEADS = [
    (BeitForImageClassification, "classifier", "num_labels"),
    (BeitForSemanticSegmentation, "decode_head.classifier", "num_labels"),
    (BeitForMaskedImageModeling, "lm_head", "vocab_size"),
]


@pytest.mark.parametrize(("kind", "head", "option"), HEADS, ids=lambda one: getattr(one, "__name__", None))
def test_a_head_for_other_classes_than_the_config_says_is_not_saved(tmp_path, kind, head, option):
    model = kind(BeitConfig(**{**TINY_MODEL, "num_hidden_layers": 4}, out_indices=[1, 2, 3, 4]))
    setattr(model.config, option, 7)
    with pytest.raises(ConfigError, match=rf"{head} is for \d+ classes and config.{option} is 7; expected the same"):
        model.save_pretrained(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_head_that_was_replaced_is_saved_with_its_number_of_classes(tmp_path):
    model = BeitForImageClassification(BeitConfig(**TINY_MODEL))
    model.classifier = torch.nn.Linear(model.config.hidden_size, 5)
    with pytest.raises(ConfigError, match=r"classifier is for 5 classes .* set config.num_labels = 5"):
        model.save_pretrained(tmp_path)
    model.config.num_labels = 5
    model.save_pretrained(tmp_path)
    assert equal(BeitForImageClassification.from_pretrained(tmp_path), model)
