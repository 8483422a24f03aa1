"""Folders that we save are loaded by two generations of transformers, and theirs by us: same values, same outputs.

`make test-interop` makes the environments of the peers and runs this file; nothing else runs it.
"""

import json
import os
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

import beit
from beit import BeitConfig
from beit.models_torch.conversion import convert
from beit.weights.msgpack_file import open_msgpack
from tests.conftest import GOLDEN, TINY_MODEL
from tests.interop.models import assert_close, randomised

pytestmark = [pytest.mark.interop, pytest.mark.timeout(600)]
HERE = Path(__file__).parent
PEERS = HERE.parents[1] / ".interop"
VERSIONS = ("4.37.2", "5.23.0")

SEGMENT = TINY_MODEL | {"num_hidden_layers": 4, "out_indices": [1, 2, 3, 4], "num_labels": 3}
BACKBONE = TINY_MODEL | {"num_hidden_layers": 4, "out_indices": [1, 2, 3, 4]}
MASKED = TINY_MODEL | {"use_mask_token": True}
POSITIONS = {
    "use_absolute_position_embeddings": True,
    "use_relative_position_bias": True,
    "use_shared_relative_position_bias": True,
}
MORE = {
    "more_model_everything": ("BeitModel", TINY_MODEL | POSITIONS | {"hidden_act": "gelu_new", "num_channels": 1}),
    "more_model_no_scale": ("BeitModel", MASKED | {"layer_scale_init_value": 0.0, "hidden_act": "relu"}),
    "more_model_patch_pair": ("BeitModel", TINY_MODEL | POSITIONS | {"image_size": [16, 32], "patch_size": [4, 8]}),
    "more_mim_absolute": ("BeitForMaskedImageModeling", MASKED | {"use_absolute_position_embeddings": True}),
    "more_mim_cls": ("BeitForMaskedImageModeling", MASKED | {"use_mean_pooling": False}),
    "more_classify_named": (
        "BeitForImageClassification",
        TINY_MODEL | {"id2label": {0: "cat", 1: "dog"}, "label2id": {"cat": 0, "dog": 1}, "layer_norm_eps": 1e-6},
    ),
    "more_segment_wide": (
        "BeitForSemanticSegmentation",
        SEGMENT | {"auxiliary_num_convs": 2, "auxiliary_channels": 9, "auxiliary_concat_input": True,
                   "pool_scales": [3, 1], "use_shared_relative_position_bias": True, "use_mean_pooling": False,
                   "semantic_loss_ignore_index": -1, "auxiliary_loss_weight": 1.5},
    ),
    "more_segment_bare": (
        "BeitForSemanticSegmentation",
        SEGMENT | {"auxiliary_num_convs": 0, "auxiliary_channels": 32, "use_absolute_position_embeddings": True},
    ),
    "more_backbone_cls": ("BeitBackbone", BACKBONE | {"use_mean_pooling": False, "out_indices": [0, 3]}),
    "more_backbone_eps": ("BeitBackbone", BACKBONE | {"add_fpn": True, "batch_norm_eps": 0.1}),
    "more_backbone_shared": ("BeitBackbone", BACKBONE | {"use_shared_relative_position_bias": True, "add_fpn": True}),
}  # fmt: skip
CASES = [*(f"recorded_{folder.name}" for folder in sorted((GOLDEN / "hf_v4").iterdir())), *MORE]

# What a peer gets wrong: an error when it builds ("refused") or runs ("raises"), or other numbers ("differs").
SQUARE = ("raises", "RuntimeError: shape .* is invalid for input of size")  # takes absolute positions for a square
DEFECTS = {
    # positions are added to patches before mask tokens replace them: a masked patch has none
    ("4.37.2", "more_mim_absolute"): ("differs", ""),
    ("5.23.0", "recorded_classify_regression"): SQUARE,
    ("5.23.0", "recorded_backbone_stages"): SQUARE,
    # divides the image size by the pair
    ("5.23.0", "more_model_patch_pair"): ("refused", "TypeError: unsupported operand type"),
    # ignores batch_norm_eps
    ("5.23.0", "more_backbone_eps"): ("differs", ""),
}
# These hold for what the peer loads alone, not for a model that it made itself.
LOADING_DEFECTS = {
    # "layernorm" and "beit.layernorm" are loaded into each other's place
    ("5.23.0", "more_mim_cls"): ("differs", ""),
}
# Its backbone has a final norm that no output uses: missing from our file, and left over in its own.
UNUSED_NORM = {("5.23.0", "more_backbone_cls"): {"beit.layernorm.bias", "beit.layernorm.weight"}}


def model_of(name):
    """Our model of a case, with random values."""
    if name in MORE:
        kind, options = MORE[name]
        config = BeitConfig(**options)
    else:
        folder = GOLDEN / "hf_v4" / name.removeprefix("recorded_")
        kind = json.loads((folder / "case.json").read_text())["class"]
        options = json.loads((folder / "config.json").read_text())
        config = BeitConfig(**{key: options[key] for key in options.keys() - {"torch_dtype", "transformers_version"}})
    return randomised(getattr(beit, kind)(config), seed=sum(name.encode()))


def inputs_of(model):
    """Seeded pictures, with a mask and labels where the model takes them."""
    rng, config = torch.Generator().manual_seed(5), model.config
    height, width = config.image_hw
    inputs = {"pixel_values": torch.randn(2, config.num_channels, height, width, generator=rng)}
    kind = type(model).__name__
    if kind == "BeitForMaskedImageModeling":
        patches = (height // config.patch_hw[0]) * (width // config.patch_hw[1])
        inputs["bool_masked_pos"] = torch.rand(2, patches, generator=rng) < 0.5
        masked = int(inputs["bool_masked_pos"].sum())
        inputs["labels"] = torch.randint(config.vocab_size, (masked,), generator=rng)
    elif kind == "BeitForSemanticSegmentation":
        inputs["labels"] = torch.randint(config.num_labels, (2, height, width), generator=rng)
        inputs["labels"][:, :3] = config.semantic_loss_ignore_index
    elif kind == "BeitForImageClassification":
        inputs["labels"] = {
            "regression": torch.randn(2, generator=rng),
            "multi_label_classification": torch.rand(2, config.num_labels, generator=rng).round(),
        }.get(config.problem_type, torch.tensor([1, 0]))
    return inputs


@pytest.fixture(scope="session", params=VERSIONS)
def peer(request, tmp_path_factory):
    """Let a peer load and save every case, in one process: its version and the folder of all results."""
    python = PEERS / request.param / "bin" / "python"
    if not python.exists():
        pytest.fail(f"{python} is missing; `make test-interop` makes the environments")
    root = tmp_path_factory.mktemp(f"peer{request.param}")
    for name in CASES:
        model = model_of(name)
        model.save_pretrained(root / name / "ours")
        np.savez(root / name / "inputs.npz", **{key: value.numpy() for key, value in inputs_of(model).items()})
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    environment.pop("PYTHONPATH", None)
    done = subprocess.run(
        [python, HERE / "peer.py", root], env=environment, cwd=root, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return request.param, root


def outputs_of(model, folder):
    inputs = {name: torch.from_numpy(array) for name, array in np.load(folder / "inputs.npz").items()}
    with torch.no_grad():
        output = model(**inputs, output_hidden_states=True, output_attentions=True)
    flat = {}
    for name, value in output.items():
        parts = enumerate(value) if isinstance(value, tuple) else [(None, value)]
        flat |= {name if index is None else f"{name}_{index}": tensor for index, tensor in parts}
    return flat


def assert_outputs(model, folder, file, defect):
    """Compare all outputs with recorded ones, or find the defect that is expected in their place."""
    what, message = defect or (None, "")
    error = folder / f"{file}.json"
    if what in ("raises", "refused"):
        assert error.exists(), "the defect is gone"
        assert re.match(message, json.loads(error.read_text()))
        return
    assert not error.exists(), error.read_text()
    ours, theirs = outputs_of(model, folder), np.load(folder / f"{file}.npz")
    assert set(theirs) == set(ours)
    if what == "differs":
        main = next(name for name in ("logits", "feature_maps_0") if name in ours)
        assert not np.allclose(ours[main], theirs[main], atol=1e-3, rtol=1e-2), "the defect is gone"
        return
    for name, reference in theirs.items():
        assert_close(ours[name], reference, name)


@pytest.mark.parametrize("name", CASES)
def test_they_load_what_we_save(peer, name):
    """No key missing or unexpected, and every output the same."""
    version, root = peer
    folder, defect = root / name, DEFECTS.get((version, name)) or LOADING_DEFECTS.get((version, name))
    assert_outputs(model_of(name), folder, "loaded", defect)
    if defect and defect[0] == "refused":
        return
    report = json.loads((folder / "report.json").read_text())
    assert set(report["missing_keys"]) == UNUSED_NORM.get((version, name), set())
    assert not any(report[key] for key in ("unexpected_keys", "mismatched_keys", "error_msgs"))


@pytest.mark.parametrize("name", CASES)
def test_they_read_our_config(peer, name):
    """Every option of `config.json` has the same value in their config."""
    _, root = peer
    ours = json.loads((root / name / "ours" / "config.json").read_text())
    theirs = json.loads((root / name / "config.json").read_text())
    theirs.setdefault("torch_dtype", theirs.get("dtype"))  # 5.x calls it so
    assert {key: theirs[key] for key in ours} == ours


@pytest.mark.parametrize("name", CASES)
def test_we_load_what_they_save(peer, name):
    """Nothing missing, nothing left over, the same config, and every output the same."""
    version, root = peer
    defect = DEFECTS.get((version, name))
    if defect and defect[0] == "refused":
        assert not (root / name / "theirs").exists()
        return
    assert_loads_theirs(version, name, root / name, "theirs")


@pytest.mark.parametrize("name", CASES)
def test_we_load_their_native_names(peer, name):
    """The names that 5.x writes with save_original_format=False."""
    version, root = peer
    if version.startswith("4."):
        assert not (root / name / "native").exists(), "4.x has one set of names"
        return
    if DEFECTS.get((version, name), [""])[0] != "refused":
        assert_loads_theirs(version, name, root / name, "native")


def assert_loads_theirs(version, name, folder, way):
    before = model_of(name)
    model = type(before).from_pretrained(folder / way)
    report = model.load_report
    unused = UNUSED_NORM.get((version, name), set())
    assert {f"beit.{key}" for key in report.unexpected} == unused
    assert [report.missing, report.new, report.resized, report.adapted] == [[]] * 4
    options, expected = model.config.to_dict(), before.config.to_dict()
    # what only saving writes
    expected |= {"architectures": [type(before).__name__], "torch_dtype": "float32", "transformers_version": version}
    assert {key: options[key] for key in expected} == expected
    assert_outputs(model, folder, way, DEFECTS.get((version, name)))


@pytest.mark.parametrize("name", [folder.name for folder in sorted((GOLDEN / "hf_flax").iterdir())])
def test_flax_files_have_their_names_and_shapes(name, tmp_path):
    """A model of ours, converted, has the tree of arrays that 4.37.2 wrote for the same config."""
    folder = GOLDEN / "hf_flax" / name
    config = BeitConfig.from_json_file(folder / "config.json")
    kind = json.loads((folder / "case.json").read_text())["class"].removeprefix("Flax")
    model = randomised(getattr(beit, kind)(config), seed=1)
    model.save_pretrained(tmp_path / "ours")
    convert(tmp_path / "ours", tmp_path / "flax", "flax")
    assert tree_of(tmp_path / "flax") == tree_of(folder)


def tree_of(folder):
    """Names, shapes and types of a Flax file."""
    found = {}

    def visit(branch, path):
        for key, value in branch.items():
            if isinstance(value, dict):
                visit(value, f"{path}{key}.")
            else:
                found[path + key] = (tuple(value.shape), str(value.dtype))

    visit(open_msgpack(folder / "flax_model.msgpack"), "")
    return found
