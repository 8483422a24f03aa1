"""Loading of models from every kind of source: reports, errors and memory."""

import json
import shutil
import subprocess
import sys

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
)
from beit.errors import CheckpointError, ConfigError
from beit.models_torch.conversion import WRITERS, convert
from tests.conftest import GOLDEN
from tests.models_torch.same import same_weights

CLASSIFIER = GOLDEN / "hf_v4/classify_single"


@pytest.fixture
def reference():
    return BeitForImageClassification.from_pretrained(CLASSIFIER)


@pytest.mark.parametrize("file", ["model.safetensors", "pytorch_model.bin"])
def test_a_single_file(reference, file):
    assert same_weights(BeitForImageClassification.from_pretrained(CLASSIFIER / file), reference)


def test_a_single_file_without_its_config(reference, tmp_path):
    (tmp_path / "weights.safetensors").write_bytes((CLASSIFIER / "model.safetensors").read_bytes())
    with pytest.raises(ConfigError, match=r"has no config.json beside it; pass config=BeitConfig"):
        BeitForImageClassification.from_pretrained(tmp_path / "weights.safetensors")
    model = BeitForImageClassification.from_pretrained(tmp_path / "weights.safetensors", config=reference.config)
    assert same_weights(model, reference)
    assert same_weights(
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
    assert same_weights(BeitForImageClassification.from_pretrained(tmp_path), reference)


@pytest.mark.parametrize(("name", "dtype"), [("float16", torch.float16), ("torch.bfloat16", torch.bfloat16)])
def test_types(tmp_path, name, dtype):
    half = BeitForImageClassification.from_pretrained(CLASSIFIER, dtype=name, layer_norm_eps=1e-6)
    assert half.dtype == dtype
    half.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["torch_dtype"] == str(dtype).removeprefix("torch.")
    assert BeitForImageClassification.from_pretrained(tmp_path).dtype == torch.float32
    again = BeitForImageClassification.from_pretrained(tmp_path, torch_dtype="auto")
    assert again.dtype == dtype
    assert same_weights(again, half)
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


def test_arguments_of_the_published_api_are_accepted(reference):
    model = BeitForImageClassification.from_pretrained(
        CLASSIFIER, low_cpu_mem_usage=True, use_safetensors=True, ignore_mismatched_sizes=True, trust_remote_code=True
    )
    assert same_weights(model, reference)


def test_heads_that_an_original_checkpoint_does_not_name():
    file = GOLDEN / "unilm/finetune_released/checkpoint.pth"
    with pytest.raises(CheckpointError, match=r"shows no number of attention heads; .*pass num_attention_heads"):
        BeitForImageClassification.from_pretrained(file)
    assert BeitForImageClassification.from_pretrained(file, num_attention_heads=4).config.num_attention_heads == 4


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
    assert same_weights(BeitForImageClassification.from_pretrained(tmp_path, use_safetensors=False), reference)
    with pytest.raises(CheckpointError, match=r"does not hold weights; expected one of \['model.safetensors'"):
        BeitForImageClassification.from_pretrained(tmp_path, use_safetensors=True)
    flax = BeitForImageClassification.from_pretrained(tmp_path, from_flax=True)
    assert not same_weights(flax, reference)
    assert same_weights(flax, BeitForImageClassification.from_pretrained(GOLDEN / "hf_flax/classify_mean"))
