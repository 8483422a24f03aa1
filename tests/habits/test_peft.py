"""Adapters of peft (LoRA): every one learns, merged ones give the same numbers, and files go both ways."""

import peft
import pytest
import torch

import beit
from tests.habits.pairs import OPTIONS, close, made, pair, pixels, transformers

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
        close(call(merged), unmerged, 1e-5)
    assert type(merged) is getattr(beit, name)
    assert merged.state_dict().keys() == made(beit, name).state_dict().keys()


def test_adapters_are_files(tmp_path):
    ours, _ = pair(tmp_path)
    model = adapted(ours, ["query", "value"], modules_to_save=["classifier"])
    model.save_pretrained(tmp_path / "adapter")
    base = beit.BeitForImageClassification.from_pretrained(tmp_path / "pair")
    loaded = peft.PeftModel.from_pretrained(base, tmp_path / "adapter").eval()
    with torch.no_grad():
        close(loaded(pixels()).logits, model(pixels()).logits, 0)


def test_merged_models_are_files_for_both(tmp_path):
    ours, _ = pair(tmp_path)
    merged = adapted(ours, ["query", "value"]).merge_and_unload()
    merged.save_pretrained(tmp_path / "merged")
    with torch.no_grad():
        expected = merged(pixels()).logits
        for library in (beit, transformers):
            loaded = library.BeitForImageClassification.from_pretrained(tmp_path / "merged")
            close(loaded.eval()(pixels()).logits, expected)
