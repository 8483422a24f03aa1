"""Folders that version 0.1 wrote while modules had names of their own: they load with equal numbers."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import beit
from beit.tokenizer import load_tokenizer

FOLDERS = Path(__file__).parent / "earlier_folders"
MODELS = {
    "model": "BeitModel",
    "masked_image_modeling": "BeitForMaskedImageModeling",
    "classification": "BeitForImageClassification",
    "segmentation": "BeitForSemanticSegmentation",
    "backbone": "BeitBackbone",
}


@pytest.fixture(scope="module")
def recorded():
    return load_file(FOLDERS / "outputs.safetensors")


@pytest.mark.parametrize("name", MODELS)
def test_a_model_folder(recorded, tmp_path, name):
    model = getattr(beit, MODELS[name]).from_pretrained(FOLDERS / name)
    assert model.load_report.silent
    masked = {"bool_masked_pos": recorded["bool_masked_pos"]} if name == "masked_image_modeling" else {}
    with torch.no_grad():
        output = model(recorded["pixel_values"], **masked, return_dict=True)
    kind = next(kind for kind in ("feature_maps", "logits", "last_hidden_state") if kind in output)
    values = output[kind][-1] if kind == "feature_maps" else output[kind]
    torch.testing.assert_close(values, recorded[name], rtol=1e-5, atol=1e-5)
    model.save_pretrained(tmp_path)
    assert_same_tensors(tmp_path / "model.safetensors", FOLDERS / name / "model.safetensors")


@pytest.mark.parametrize("name", ["dvae", "vq_kd"])
def test_a_tokenizer_folder(recorded, tmp_path, name):
    tokenizer = load_tokenizer(FOLDERS / name)
    tokens = tokenizer.encode(recorded["pixels"])
    assert torch.equal(tokens, recorded[name])
    with torch.no_grad():
        decoded = tokenizer.decode(tokens) if name == "dvae" else tokenizer.predict_features(tokens)
    expected = recorded["dvae_decoded" if name == "dvae" else "vq_kd_features"]
    torch.testing.assert_close(decoded, expected, rtol=1e-5, atol=1e-5)
    tokenizer.save_pretrained(tmp_path)
    assert_same_tensors(tmp_path / "model.safetensors", FOLDERS / name / "model.safetensors")


def assert_same_tensors(path, expected):
    ours, theirs = load_file(path), load_file(expected)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items())
