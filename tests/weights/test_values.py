"""What is no number, or of a surprising kind, is loaded by no way in."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from beit import (
    BeitConfig,
    BeitForImageClassification,
    BeitForMaskedImageModeling,
    FlaxBeitForImageClassification,
)
from beit.data import open_source, with_labels
from beit.errors import CheckpointError, DataError
from beit.inference.predictor import Predictor
from beit.models_torch import MaskedPatchDecoder
from beit.models_torch.masked_patch_decoder import DECODER_NAME
from beit.tokenizer import DiscreteVAE, DiscreteVAEConfig, load_tokenizer
from tests.shards import picture_bytes

SMALL = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8, "image_size": 32,
         "patch_size": 16}  # fmt: skip
CODEBOOK = DiscreteVAEConfig(vocab_size=8, hidden_size=4, blocks_per_group=1, groups=2, decoder_input_size=4)
NAME = "beit.encoder.layer.0.output.dense.weight"


@pytest.fixture
def folder(tmp_path):
    BeitForImageClassification(BeitConfig(**SMALL)).save_pretrained(tmp_path)
    return tmp_path


def change(folder, name, values):
    tensors = load_file(folder / "model.safetensors")
    tensors[name] = values(tensors[name])
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def spoilt(value):
    def values(tensor):
        tensor.view(-1)[-1] = value
        return tensor

    return values


WAYS = {
    "torch": BeitForImageClassification.from_pretrained,
    "flax": FlaxBeitForImageClassification.from_pretrained,
    "predictor": lambda folder: Predictor.from_pretrained(str(folder)),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_what_is_not_finite_is_refused(folder, way, value):
    change(folder, NAME, spoilt(value))
    with pytest.raises(CheckpointError, match=rf"holds NaN or infinity in {NAME}.*allow_nonfinite=True"):
        WAYS[way](folder)


def test_unless_it_is_allowed(folder):
    change(folder, NAME, spoilt(float("nan")))
    model = BeitForImageClassification.from_pretrained(folder, allow_nonfinite=True)
    assert model.state_dict()[NAME].isnan().sum() == 1
    flax = FlaxBeitForImageClassification.from_pretrained(folder, allow_nonfinite=True)
    assert np.isnan(flax.params["beit"]["encoder"]["layer"]["0"]["output"]["dense"]["kernel"]).sum() == 1


def test_what_is_too_large_for_the_type_is_refused(folder):
    change(folder, NAME, lambda tensor: spoilt(1e39)(tensor.double()))
    with pytest.raises(CheckpointError, match="NaN or infinity"):
        BeitForImageClassification.from_pretrained(folder)


@pytest.mark.parametrize("dtype", [torch.int8, torch.bool, torch.int64, torch.float8_e4m3fn])
@pytest.mark.parametrize("way", ["torch", "flax"])
def test_surprising_types_are_refused(folder, way, dtype):
    change(folder, NAME, lambda tensor: tensor.to(dtype))
    with pytest.raises(CheckpointError, match=r"expected one of (.*float|F64)"):
        WAYS[way](folder)


def test_tokenizers_too(tmp_path):
    DiscreteVAE(CODEBOOK).save_pretrained(tmp_path)
    good = (tmp_path / "model.safetensors").read_bytes()
    name = next(iter(load_file(tmp_path / "model.safetensors")))
    change(tmp_path, name, spoilt(float("nan")))
    with pytest.raises(CheckpointError, match="NaN or infinity"):
        load_tokenizer(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(good)
    change(tmp_path, name, lambda tensor: tensor.to(torch.int32))
    with pytest.raises(CheckpointError, match="as int32"):
        load_tokenizer(tmp_path)


def test_decoders_of_masked_patches_too(tmp_path):
    options = {"use_absolute_position_embeddings": True, "use_mask_token": True, "vocab_size": 8}
    model = BeitForMaskedImageModeling(BeitConfig(**SMALL, **options))
    decoder = MaskedPatchDecoder(model)
    for value, words in ((float("nan"), "NaN or infinity"), (None, "as int32")):
        decoder.save_file(tmp_path / DECODER_NAME)
        tensors = load_file(tmp_path / DECODER_NAME)
        name = next(iter(tensors))
        tensors[name] = tensors[name].to(torch.int32) if value is None else spoilt(value)(tensors[name])
        save_file(tensors, tmp_path / DECODER_NAME)
        with pytest.raises(CheckpointError, match=words):
            MaskedPatchDecoder.from_file(model, tmp_path / DECODER_NAME)
        with pytest.raises(CheckpointError, match=words):
            decoder.load_file(tmp_path / DECODER_NAME)


@pytest.mark.parametrize("value", ["1e39", "-1e400", "nan", "9" * 400, "Infinity"])
@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_a_label_that_is_no_float32_is_refused(tmp_path, value, kind):
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "a.png").write_bytes(picture_bytes(1))
    rows = {"csv": f"file_name,value\na.png,{value}\n", "jsonl": f'{{"file_name": "a.png", "value": {value}}}\n'}
    if kind == "jsonl" and value == "nan":
        rows["jsonl"] = json.dumps({"file_name": "a.png", "value": float("nan")})
    (tmp_path / f"labels.{kind}").write_text(rows[kind])
    source = open_source(str(tmp_path / "pictures"))
    with pytest.raises(DataError, match=r"expected a number up to|expected a finite one|of 400 digits"):
        with_labels(source, str(tmp_path / "pictures"), str(tmp_path / f"labels.{kind}"))
