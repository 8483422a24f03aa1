"""Adapters of peft (LoRA): every one learns, merged ones give the same numbers, and files go both ways."""

import json

import numpy as np
import peft
import pytest
import torch
from safetensors.torch import load_file, save_file

import beit
from beit.weights import open_checkpoint
from tests.habits.pairs import OPTIONS, assert_close, both, made, pair, pixels, transformers

TARGETS = {
    "query and value": ["query", "value"],
    "all projections": ["query", "key", "value", "dense"],
    "all linear layers": "all-linear",
}
LAST_LAYERS = {"out_indices": [0, 1, 2, 3], "out_indices_meaning": "original"}  # all layers have a share in the output
LINEAR = {"query and value": 2, "all projections": 6, "all linear layers": 6}


def adapted(model, targets, **options):
    torch.manual_seed(0)
    settings = peft.LoraConfig(r=4, lora_alpha=8, target_modules=targets, init_lora_weights=False, **options)
    return peft.get_peft_model(model, settings).eval()


def call(model):
    labels = {"labels": torch.zeros(2, 32, 32, dtype=torch.long)} if "Segment" in type(model).__name__ else {}
    output = model(pixels(), **labels)
    return output.feature_maps[-1] if "feature_maps" in output else output[1 if labels else 0]


@pytest.mark.parametrize("targets", TARGETS)
@pytest.mark.parametrize("name", OPTIONS)
def test_every_adapter_gets_a_gradient_and_merges(name, targets):
    base = made(beit, name, **LAST_LAYERS if name == "BeitForSemanticSegmentation" else {})
    model = adapted(base, TARGETS[targets])
    adapters = [part for part in model.modules() if isinstance(part, peft.tuners.lora.Linear)]
    assert len(adapters) >= LINEAR[targets] * base.config.num_hidden_layers
    call(model).square().sum().backward()
    learned = {kind: parameter.grad for kind, parameter in model.named_parameters() if "lora_" in kind}
    assert [kind for kind, grad in learned.items() if grad is None or not grad.abs().sum() > 0] == []
    with torch.no_grad():
        unmerged = call(model)
        merged = model.merge_and_unload()
        assert_close(call(merged), unmerged, 1e-5)
    assert type(merged) is getattr(beit, name)
    assert merged.state_dict().keys() == made(beit, name).state_dict().keys()


def test_adapters_are_files(tmp_path):
    ours, _ = pair(tmp_path)
    model = adapted(ours, ["query", "value"], modules_to_save=["classifier"])
    model.save_pretrained(tmp_path / "adapter")
    base = beit.BeitForImageClassification.from_pretrained(tmp_path / "pair")
    loaded = peft.PeftModel.from_pretrained(base, tmp_path / "adapter").eval()
    with torch.no_grad():
        assert_close(loaded(pixels()).logits, model(pixels()).logits, 0)


def test_merged_models_are_files_for_both(tmp_path):
    ours, _ = pair(tmp_path)
    merged = adapted(ours, ["query", "value"]).merge_and_unload()
    merged.save_pretrained(tmp_path / "merged")
    with torch.no_grad():
        expected = merged(pixels()).logits
        for library in (beit, transformers):
            loaded = library.BeitForImageClassification.from_pretrained(tmp_path / "merged")
            assert_close(loaded.eval()(pixels()).logits, expected)


@pytest.mark.parametrize("rslora", [False, True])
@pytest.mark.parametrize("targets", ["attention", "all-linear", "convolution"])
@both
def test_folders_of_adapters_are_loaded(tmp_path, library, targets, rslora):
    """The adapter may have been trained on transformers 5, whose modules have other names."""
    theirs = library is transformers
    pair(tmp_path)
    model = library.BeitForImageClassification.from_pretrained(tmp_path / "pair")
    chosen = {"attention": ["q_proj", "v_proj"] if theirs else ["query", "value"], "convolution": ["projection"]}
    settings = {"modules_to_save": ["classifier"], "use_rslora": rslora}
    adapter = adapted(model, chosen.get(targets, targets), **settings)
    adapter.save_pretrained(tmp_path / "adapter")
    with torch.no_grad():
        expected = adapter(pixels()).logits
        loaded = beit.BeitForImageClassification.from_pretrained(tmp_path / "adapter")
        assert_close(loaded(pixels()).logits, expected)
    assert any("the adapter was added to the weights of" in line for line in loaded.load_report.adapted)


def test_an_adapter_of_the_patch_embedding_is_inflated_with_it(tmp_path):
    pair(tmp_path)
    base = beit.BeitForImageClassification.from_pretrained(tmp_path / "pair")
    adapted(base, ["projection"]).save_pretrained(tmp_path / "adapter")
    models = [beit.BeitModel.from_pretrained(tmp_path / "adapter", num_channels=channels) for channels in (3, 6)]
    kept, inflated = (model.get_input_embeddings().projection.weight for model in models)
    assert_close(inflated[:, :3] + inflated[:, 3:], kept)


@pytest.mark.parametrize("task_type", [None, "FEATURE_EXTRACTION"])
def test_an_adapter_with_a_head_of_its_own(tmp_path, task_type):
    """Its config names the class of the model where no kind of task was given, else the head shows it."""
    made(beit, "BeitForMaskedImageModeling").save_pretrained(tmp_path / "base")
    model = beit.BeitForImageClassification.from_pretrained(tmp_path / "base", num_labels=7)
    adapter = adapted(model, ["query"], modules_to_save=["classifier", "pooler"], task_type=task_type)
    adapter.save_pretrained(tmp_path / "adapter")
    assert open_checkpoint(tmp_path / "adapter").architecture == "BeitForImageClassification"
    loaded = beit.BeitForImageClassification.from_pretrained(tmp_path / "adapter")
    assert loaded.config.num_labels == 7
    with torch.no_grad():
        assert_close(loaded(pixels()).logits, adapter.get_base_model()(pixels()).logits)
    flax = beit.FlaxBeitForImageClassification.from_pretrained(tmp_path / "adapter")
    np.testing.assert_allclose(flax(pixels().numpy()).logits, loaded(pixels()).logits.detach(), rtol=1e-3, atol=1e-4)


@both
@pytest.mark.parametrize("bias", ["all", "lora_only"])
def test_an_adapter_with_biases_of_its_own(tmp_path, library, bias):
    """Those of adapted layers lie under other names in its file."""
    pair(tmp_path)
    base = library.BeitForImageClassification.from_pretrained(tmp_path / "pair")
    adapter = adapted(base, ["query", "dense"] if library is beit else ["q_proj", "o_proj"], bias=bias)
    for name, parameter in adapter.named_parameters():
        if parameter.requires_grad and name.endswith("bias"):
            torch.nn.init.normal_(parameter)
    adapter.save_pretrained(tmp_path / "adapter")
    assert any(".base_layer.bias" in name for name in load_file(tmp_path / "adapter" / "adapter_model.safetensors"))
    loaded = beit.BeitForImageClassification.from_pretrained(tmp_path / "adapter")
    put_in = beit.BeitForImageClassification.from_pretrained(tmp_path / "pair")
    put_in.load_adapter(tmp_path / "adapter")
    with torch.no_grad():
        assert_close(loaded(pixels()).logits, adapter(pixels()).logits)
        assert_close(put_in(pixels()).logits, adapter(pixels()).logits)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"peft_type": "IA3"}, "is an adapter of type 'IA3'; expected 'LORA': load the model itself"),
        ({"use_dora": True}, r"is an adapter with \['use_dora'\]; expected plain LoRA"),
        ({"init_lora_weights": "pissa_niter_4"}, "has init_lora_weights 'pissa_niter_4', for which weights of its"),
        ({"init_lora_weights": "lora_ga"}, "has init_lora_weights 'lora_ga', for which weights of its model"),
        ({"init_lora_weights": "olora"}, "has init_lora_weights 'olora', for which weights of its model"),
        ({"base_model_name_or_path": None}, "holds an adapter and does not name its model"),
        ({"base_model_name_or_path": "adapter"}, "adapts adapter, an adapter itself"),
        ({"base_model_name_or_path": "other"}, r"adapts \['beit.encoder.layer.1.* which the model has not"),
        ({"base_model_name_or_path": "wider"}, r"does not fit beit.encoder.layer.0.* of shape \(48, 48\)"),
    ],
)
def test_adapters_that_cannot_be_added(tmp_path, monkeypatch, change, message):
    monkeypatch.chdir(tmp_path)
    pair(tmp_path)
    adapted(beit.BeitForImageClassification.from_pretrained("pair"), ["query"]).save_pretrained("adapter")
    made(beit, num_hidden_layers=1).save_pretrained("other")
    made(beit, hidden_size=48).save_pretrained("wider")
    file = tmp_path / "adapter" / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(beit.BeitError, match=message):
        beit.BeitForImageClassification.from_pretrained("adapter")


@pytest.mark.parametrize("alpha", [float("nan"), float("inf"), 10**400, True, "16", None])
def test_a_scale_that_is_no_number_is_refused(tmp_path, monkeypatch, alpha):
    monkeypatch.chdir(tmp_path)
    pair(tmp_path)
    adapted(beit.BeitForImageClassification.from_pretrained("pair"), ["query"]).save_pretrained("adapter")
    file = tmp_path / "adapter" / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"lora_alpha": alpha}))
    for kind in (beit.BeitForImageClassification, beit.FlaxBeitForImageClassification):
        with pytest.raises(beit.BeitError, match=r"lora_alpha|NaN|Infinity|number"):
            kind.from_pretrained("adapter")


@pytest.mark.parametrize("change", ["half", "whole numbers"])
def test_half_an_adapter_and_whole_numbers_are_refused(tmp_path, monkeypatch, change):
    monkeypatch.chdir(tmp_path)
    pair(tmp_path)
    adapted(beit.BeitForImageClassification.from_pretrained("pair"), ["query"]).save_pretrained("adapter")
    file = tmp_path / "adapter" / "adapter_model.safetensors"
    tensors = load_file(file)
    if change == "half":
        del tensors[next(name for name in tensors if "lora_A" in name)]
    else:
        tensors = {name: (10 * tensor).to(torch.int8) for name, tensor in tensors.items()}
    save_file(tensors, file)
    for kind in (beit.BeitForImageClassification, beit.FlaxBeitForImageClassification):
        with pytest.raises(beit.BeitError, match="does not fit" if change == "half" else "as int8; expected one of"):
            kind.from_pretrained("adapter")


@pytest.mark.parametrize(("shape", "value"), [("empty", 0.0), ("same", float("nan")), ("same", float("-inf"))])
def test_products_of_no_rank_and_of_no_numbers_are_refused(tmp_path, monkeypatch, shape, value):
    monkeypatch.chdir(tmp_path)
    pair(tmp_path)
    adapted(beit.BeitForImageClassification.from_pretrained("pair"), ["query"]).save_pretrained("adapter")
    file = tmp_path / "adapter" / "adapter_model.safetensors"
    tensors = load_file(file)
    for name, tensor in tensors.items():
        axis = 0 if "lora_A" in name else 1
        tensors[name] = tensor.narrow(axis, 0, 0).contiguous() if shape == "empty" else torch.full_like(tensor, value)
    save_file(tensors, file)
    for kind in (beit.BeitForImageClassification, beit.FlaxBeitForImageClassification):
        with pytest.raises(beit.BeitError, match="rank 0" if shape == "empty" else "holds NaN or infinity"):
            kind.from_pretrained("adapter")


DAMAGE = {
    "cut": lambda text: text[:40],
    "a list": lambda text: "[]",
    "no text": lambda text: "\udcff" + text,
    "a rank of another": lambda text: text.replace('"r": 4', '"r": 2147483648'),
    "a rank that is none": lambda text: text.replace('"r": 4', '"r": "4"'),
    "no layers": lambda text: text.replace('"query"', '"nothing"'),
    "another kind": lambda text: text.replace('"LORA"', '"NONE"'),
}


@pytest.mark.parametrize("damage", [*DAMAGE, "half"])
def test_a_damaged_adapter_is_named_and_leaves_the_model_as_it_was(tmp_path, monkeypatch, damage):
    monkeypatch.chdir(tmp_path)
    pair(tmp_path)
    adapted(beit.BeitForImageClassification.from_pretrained("pair"), ["query"]).save_pretrained("adapter")
    file, weights = (tmp_path / "adapter" / name for name in ("adapter_config.json", "adapter_model.safetensors"))
    if damage == "half":
        tensors = load_file(weights)
        del tensors[next(name for name in tensors if "lora_B" in name)]
        save_file(tensors, weights)
    else:
        text = file.read_text()
        changed = DAMAGE[damage](text)
        assert changed != text
        file.write_bytes(changed.encode("utf-8", "surrogateescape"))
    model = beit.BeitForImageClassification.from_pretrained("pair")
    names = list(model.state_dict())
    with pytest.raises(beit.BeitError, match="adapter"):
        model.load_adapter("adapter")
    assert list(model.state_dict()) == names
    assert not model.has_adapters
