"""The names of transformers 4.37.2, recorded from it: of every module, parameter and tensor of every model."""

import json
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import beit
from beit import BeitConfig
from beit.weights import LAYOUTS
from tests.conftest import GOLDEN, TINY_MODEL

# transformers 4.37.2, with "#" for the number of a layer
RECORDED = json.loads((Path(__file__).parent / "published_names.json").read_text())
SMALL = {**TINY_MODEL, "num_hidden_layers": 4}
PER_LAYER = {"use_relative_position_bias": True}
STAGES = {"out_features": [f"stage{number}" for number in range(1, 5)], "reshape_hidden_states": True, "add_fpn": True}
MODELS = {
    "model": (beit.BeitModel, {**PER_LAYER, "use_shared_relative_position_bias": True, "use_mask_token": True,
                               "use_absolute_position_embeddings": True}),
    "model_cls": (beit.BeitModel, {**PER_LAYER, "use_mean_pooling": False}),
    "mim": (beit.BeitForMaskedImageModeling, {"use_mask_token": True, "use_shared_relative_position_bias": True}),
    "classify": (beit.BeitForImageClassification, PER_LAYER),
    "without_layer_scale": (beit.BeitForImageClassification, {**PER_LAYER, "layer_scale_init_value": 0}),
    "segment": (beit.BeitForSemanticSegmentation, {**PER_LAYER, "out_indices": [1, 2, 3, 4]}),
    "backbone": (beit.BeitBackbone, {**PER_LAYER, **STAGES}),
}  # fmt: skip


def made(name):
    kind, options = MODELS[name]
    return kind(BeitConfig(**{**SMALL, **options}))


def unnumbered(names):
    return {re.sub(r"\.layer\.\d+", ".layer.#", name) for name in names}


@pytest.mark.parametrize("name", MODELS)
def test_modules_parameters_and_tensors(name):
    model = made(name)
    assert unnumbered(name for name, _ in model.named_modules()) == set(RECORDED[name]["modules"])
    assert unnumbered(name for name, _ in model.named_parameters()) == set(RECORDED[name]["parameters"])
    assert unnumbered(model.state_dict()) == set(RECORDED[name]["tensors"])


def test_layouts_know_no_other_names():
    """Whatever layout a checkpoint has, its tensors get names that a model has."""
    known = {f"{root}{name}" for each in RECORDED.values() for name in each["tensors"] for root in ("", "beit.")}
    places = {"layer": "#", "index": r"\d+", "root": "", "head": r"\w+_head", "path": r"[\w.]+", "param": "weight|bias",
              "state": "weight|bias|running_mean"}  # fmt: skip
    for layout in LAYOUTS:
        for rule in layout.rules:
            for part in rule.parts:
                pattern = re.sub(r"\{(\w+)\}", lambda match: f"(?:{places[match[1]]})", part.replace(".", r"\."))
                assert any(re.fullmatch(pattern, name) for name in known), (layout.name, part)


FOLDERS = sorted(path.name for path in (GOLDEN / "hf_v4").iterdir() if (path / "model.safetensors").exists())


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_file_of_transformers_is_a_state_dict(folder):
    """Without any conversion, but for the index that some old files hold, a constant."""
    case = json.loads((GOLDEN / "hf_v4" / folder / "case.json").read_text())
    kind = getattr(beit, case["class"])
    loaded = kind.from_pretrained(GOLDEN / "hf_v4" / folder)
    tensors = load_file(GOLDEN / "hf_v4" / folder / "model.safetensors")
    tensors = {name: tensor for name, tensor in tensors.items() if not name.endswith("relative_position_index")}
    model = kind(loaded.config).eval()
    model.load_state_dict(tensors)
    assert all(torch.equal(value, loaded.state_dict()[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("name", MODELS)
def test_what_is_saved_is_the_state_dict(name, tmp_path):
    model = made(name)
    model.save_pretrained(tmp_path)
    saved = load_file(tmp_path / "model.safetensors")
    assert saved.keys() == model.state_dict().keys()
    assert all(torch.equal(tensor, saved[key]) for key, tensor in model.state_dict().items())
