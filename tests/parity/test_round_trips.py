"""Every recorded case, from its own layout to every layout that can hold it and back: the identity, bit by bit."""

import shutil

import numpy as np
import pytest
import torch

from beit import BeitForImageClassification
from beit.errors import CheckpointError
from beit.image import Preprocessing
from beit.image.model_view import checkpoint_statistics, evaluation_view
from beit.models_torch.conversion import WRITERS, convert
from beit.weights import HUGGING_FACE, HUGGING_FACE_NATIVE, open_checkpoint
from tests.parity.cases import CASES, recorded, unilm_config


def canonical(path, **options):
    checkpoint = open_checkpoint(path, overrides=options)
    return {name: entry.read() for name, entry in checkpoint.tensors.items() if "cls_pt_layers" not in name}


def source_of(name):
    case = recorded(name)
    if case.family != "unilm":
        return case.folder, {}
    heads = case.case["config"]["num_attention_heads"]
    options = {"num_attention_heads": heads}
    if "unilm_out_indices" in case.case:
        options["out_indices"] = case.case["unilm_out_indices"]
    return case.folder / case.case["checkpoint"], options


@pytest.mark.parametrize("to", WRITERS)
@pytest.mark.parametrize("name", [name for name in CASES if "resize" not in name])
def test_round_trip(name, to, tmp_path):
    source, options = source_of(name)
    before = canonical(source, **options)
    # timm has no codebook and no segmentation; the original no pyramid without a head, and one norm in pre-training
    impossible = {
        "timm": any(key.startswith(("lm_head", "decode_head", "fpn")) or "mask_token" in key for key in before),
        "unilm": {"layernorm.weight", "beit.layernorm.weight"} <= before.keys()
        or ("fpn2.0.weight" in before and "decode_head.classifier.weight" not in before),
    }
    there = tmp_path / ("there.pth" if to == "unilm" else "there")
    if impossible.get(to):
        with pytest.raises(CheckpointError, match="has no name for the parameter"):
            convert(source, there, to, **options)
        assert not there.exists()
        return
    convert(source, there, to, **options)
    after = canonical(there)
    assert before.keys() == after.keys()
    assert all(np.array_equal(before[key], after[key]) for key in before)
    convert(there, tmp_path / "back", "hf")
    again = canonical(tmp_path / "back")
    assert all(np.array_equal(before[key], again[key]) for key in before)


@pytest.mark.parametrize("layout", [HUGGING_FACE, HUGGING_FACE_NATIVE], ids=lambda layout: layout.name)
@pytest.mark.parametrize("name", [name for name in CASES if name.startswith("hf_v")])
def test_names_of_both_generations(name, layout):
    before = canonical(recorded(name).folder)
    after = layout.to_canonical(layout.from_canonical(before))
    assert before.keys() == after.keys()
    assert all(np.array_equal(before[key], after[key]) for key in before)


@pytest.mark.parametrize("name", [name for name in CASES if name.startswith(("hf_v4", "hf_v5"))])
def test_saved_again_it_is_the_same_file(name, tmp_path):
    """Same names, same bytes: `save_pretrained` writes what the reference writes."""
    from safetensors.numpy import load_file

    case = recorded(name)
    case.model.save_pretrained(tmp_path)
    ours = load_file(tmp_path / "model.safetensors")
    if "native" in name:
        ours = HUGGING_FACE_NATIVE.from_canonical(HUGGING_FACE.to_canonical(ours))
    reference = load_file(case.folder / "model.safetensors")
    assert ours.keys() == reference.keys()
    assert all(np.array_equal(ours[key], reference[key]) for key in reference)


@pytest.mark.parametrize("name", [name for name in CASES if name.startswith("hf_v4")])
def test_pytorch_bin_holds_the_same(name, tmp_path):
    """The pickled file of old hub repositories, read without executing it."""
    folder = recorded(name).folder
    for file in ("config.json", "pytorch_model.bin"):
        (tmp_path / file).write_bytes((folder / file).read_bytes())
    pickled, safe = canonical(tmp_path), canonical(folder)
    assert pickled.keys() == safe.keys()
    assert all(np.array_equal(pickled[key], safe[key]) for key in safe)


def test_a_converted_original_gives_the_same_logits(tmp_path):
    case = recorded("unilm/segment")
    convert(case.folder / "checkpoint.pth", tmp_path, "hf", out_indices=case.case["unilm_out_indices"])
    model = type(case.model).from_pretrained(tmp_path)
    assert model.config.out_indices_meaning == "original", "saved with the model"
    assert model.config.class_names == [f"class {index}" for index in range(7)]
    assert model.taps == case.model.taps == (2, 3, 4, 6)
    with torch.no_grad():
        pixels = case.inputs["pixel_values"]
        assert torch.equal(model(pixels).logits, case.model(pixels).logits)


@pytest.mark.parametrize(
    "name", ["unilm/pretrain", "unilm/finetune", "unilm/beit2_finetune", "timm/beit", "timm/beitv2"]
)
def test_a_config_is_inferred_from_the_tensors(name):
    """Original and timm files come without our config; what it would say follows from the shapes."""
    case = recorded(name)
    source, _ = source_of(name)
    found = type(case.model).from_pretrained(source).config
    known = unilm_config(case.case) if case.family == "unilm" else case.model.config
    for option in ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "image_size",
                   "patch_size", "use_mask_token", "use_relative_position_bias", "use_shared_relative_position_bias",
                   "use_absolute_position_embeddings", "use_mean_pooling", "layer_norm_eps", "num_labels"):  # fmt: skip
        assert getattr(found, option) == getattr(known, option), option


def test_timms_config_says_how_pictures_are_seen(tmp_path):
    source = recorded("hf_v4/classify_single").folder
    model = shutil.copytree(source, tmp_path / "model")
    Preprocessing((32, 32), (36, 36), (0.1, 0.2, 0.3), (0.4, 0.5, 0.6)).save_pretrained(model)
    for one, statistics in ((model, ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))), (source, ((0.5,) * 3,) * 2)):
        convert(one, tmp_path / "timm", "timm")
        assert checkpoint_statistics(str(tmp_path / "timm")) == statistics
        seen, kept = (evaluation_view(str(folder), (32, 32))[0] for folder in (one, tmp_path / "timm"))
        assert kept == seen


def test_names_of_classes_go_through_timm(tmp_path):
    source = recorded("hf_v4/classify_single").folder
    model = BeitForImageClassification.from_pretrained(source)
    names = {index: f"name {index}" for index in range(model.config.num_labels)}
    model.config.id2label = names
    model.save_pretrained(tmp_path / "model")
    convert(tmp_path / "model", tmp_path / "timm", "timm")
    assert BeitForImageClassification.from_pretrained(tmp_path / "timm").config.id2label == names
    (tmp_path / "timm" / "config.json").write_text('{"architecture": "beit", "label_names": ["one"]}')
    assert BeitForImageClassification.from_pretrained(tmp_path / "timm").config.num_labels == len(names)
