"""Adapters of peft put into a model: `add_adapter`, `load_adapter` and what switches them."""

import copy
import json
import sys

import peft
import pytest
import torch
from safetensors.torch import load_file

import beit
from beit.errors import CheckpointError, ConfigError, MissingExtraError, UnavailableError
from tests.habits.pairs import assert_close, both, made, pair, pixels, transformers

LABELS = torch.tensor([0, 2])


def settings(**options):
    defaults = {"r": 4, "lora_alpha": 8, "target_modules": ["query", "value"], "init_lora_weights": False}
    return peft.LoraConfig(**defaults | options)


def targets(library):
    return ["q_proj", "v_proj"] if library is transformers else ["query", "value"]


def logits(model):
    with torch.no_grad():
        return model(pixels()).logits


@both
def test_an_adapter_is_added_and_learns(library):
    model = made(library)
    torch.nn.init.normal_(model.classifier.weight)
    before = logits(model)
    model.add_adapter(settings(target_modules=targets(library)))
    assert type(model) is library.BeitForImageClassification
    assert {name.split(".")[-3] for name, one in model.named_parameters() if one.requires_grad} == {"lora_A", "lora_B"}
    assert model.active_adapters() == ["default"]
    assert (logits(model) - before).abs().max() > 1e-3
    model(pixels(), labels=LABELS).loss.backward()
    learned = [one.grad for one in model.parameters() if one.requires_grad]
    assert all(grad is not None and grad.abs().sum() > 0 for grad in learned)


@both
def test_adapters_are_switched(library):
    model = made(library)
    torch.nn.init.normal_(model.classifier.weight)
    plain = logits(model)
    model.add_adapter(settings(target_modules=targets(library)), adapter_name="one")
    one = logits(model)
    model.add_adapter(settings(target_modules=targets(library)), adapter_name="two")
    two = logits(model)
    assert (one - two).abs().max() > 1e-3
    model.disable_adapters()
    assert_close(logits(model), plain)
    model.enable_adapters()
    model.set_adapter("one")
    assert_close(logits(model), one)
    model.set_adapter(["one", "two"])
    assert model.active_adapters() == ["one", "two"]
    model.delete_adapter("one")
    model.set_adapter("two")
    assert_close(logits(model), two)
    with pytest.raises(ValueError, match="one"):
        model.set_adapter("one")


@both
@pytest.mark.parametrize("reader", ["load_adapter", "from_pretrained"])
def test_adapters_are_files(tmp_path, library, reader):
    pair(tmp_path)
    model = library.BeitForImageClassification.from_pretrained(tmp_path / "pair")
    model.add_adapter(settings(target_modules=targets(library)))
    model.eval().save_pretrained(tmp_path / "adapter")
    written = {path.name for path in (tmp_path / "adapter").iterdir()}
    assert {"adapter_config.json", "adapter_model.safetensors"} <= written
    assert not {"model.safetensors", "config.json"} & written
    if reader == "from_pretrained":
        loaded = beit.BeitForImageClassification.from_pretrained(tmp_path / "adapter")
    else:
        loaded = beit.BeitForImageClassification.from_pretrained(tmp_path / "pair")
        loaded.load_adapter(tmp_path / "adapter")
        assert not any(one.requires_grad for name, one in loaded.named_parameters() if "lora_" in name)
    assert_close(logits(loaded), logits(model))


def test_peft_reads_what_is_written_and_writes_what_is_read(tmp_path):
    pair(tmp_path)
    model = beit.BeitForImageClassification.from_pretrained(tmp_path / "pair")
    model.add_adapter(settings(modules_to_save=["classifier"]))
    torch.nn.init.normal_(model.classifier.weight)
    model.save_pretrained(tmp_path / "ours")
    base = beit.BeitForImageClassification.from_pretrained(tmp_path / "pair")
    wrapped = peft.PeftModel.from_pretrained(base, tmp_path / "ours")
    assert_close(logits(wrapped), logits(model))
    wrapped.save_pretrained(tmp_path / "peft")
    again = beit.BeitForImageClassification.from_pretrained(tmp_path / "pair")
    again.load_adapter(str(tmp_path / "peft"), is_trainable=True)
    assert [name for name, one in again.named_parameters() if one.requires_grad and "lora_" in name]
    assert_close(logits(again.eval()), logits(model))


def test_an_adapter_of_a_bare_encoder_fits_one_with_a_head(tmp_path):
    model = made(beit, "BeitModel")
    model.add_adapter(settings())
    model.save_pretrained(tmp_path / "adapter")
    other = made(beit)
    other.load_adapter(tmp_path / "adapter")
    own, theirs = (one.get_adapter_state_dict() for one in (model, other))
    assert len(own) == 8
    assert all(torch.equal(theirs[f"beit.{name}"], tensor) for name, tensor in own.items())


def test_tensors_instead_of_a_file():
    model, other = made(beit), made(beit)
    model.add_adapter(settings())
    other.load_adapter(peft_config=copy.copy(settings()), adapter_state_dict=model.get_adapter_state_dict())
    assert_close(logits(other), logits(model))


def test_without_adapters_the_model_is_as_it_was(tmp_path):
    model = made(beit)
    names = list(model.state_dict())
    expected = logits(model)
    model.add_adapter(settings(modules_to_save=["classifier"]))
    model.delete_adapter("default")
    assert list(model.state_dict()) == names
    assert_close(logits(model), expected, 0)
    model.save_pretrained(tmp_path)
    assert (tmp_path / "model.safetensors").is_file()


def test_what_is_refused(tmp_path):
    model = made(beit)
    with pytest.raises(ConfigError, match="no adapter in the model; expected one by add_adapter"):
        model.active_adapters()
    with pytest.raises(ConfigError, match="of type dict; expected a config of peft"):
        model.add_adapter({"r": 4})
    with pytest.raises(ConfigError, match="no peft_model_id"):
        model.load_adapter()
    model.add_adapter(settings())
    with pytest.raises(ConfigError, match="'default' already; choose another adapter_name"):
        model.add_adapter(settings())
    model.save_pretrained(tmp_path / "adapter")
    made(beit).save_pretrained(tmp_path / "whole")
    with pytest.raises(CheckpointError, match="expected the folder of an adapter"):
        made(beit).load_adapter(tmp_path / "whole" / "model.safetensors")
    with pytest.raises(UnavailableError):
        made(beit).load_adapter(tmp_path / "missing")
    shallow = made(beit, num_hidden_layers=1)
    with pytest.raises(CheckpointError, match=r"holds .*layer.1.* which the model has not"):
        shallow.load_adapter(tmp_path / "adapter")
    assert not shallow.has_adapters
    model.add_adapter(settings(), "second")
    model.set_adapter(["default", "second"])
    with pytest.raises(ConfigError, match="choose by set_adapter and save one by one"):
        model.save_pretrained(tmp_path / "two")


def test_a_config_that_peft_half_obeys_leaves_the_model_as_it_was(tmp_path):
    """`modules_to_save` as a text is a list of letters, and some end the names of modules inside of one another."""
    model = made(beit)
    model.add_adapter(settings())
    model.save_pretrained(tmp_path)
    file = tmp_path / "adapter_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "modules_to_save": "nan"}))
    whole = made(beit)
    names = list(dict(whole.named_modules()))
    with pytest.raises(CheckpointError, match="expected an adapter of this model"):
        whole.load_adapter(tmp_path)
    assert list(dict(whole.named_modules())) == names
    assert not whole.has_adapters


def test_without_peft(monkeypatch):
    for name in ("peft", "peft.functional"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingExtraError, match="for adapters run: pip install -U peft"):
        made(beit).add_adapter(None)


@pytest.mark.parametrize("plain", [True, False])
def test_what_is_uploaded_has_the_names_that_are_saved(tmp_path, monkeypatch, plain):
    model, files = made(beit), []
    model.add_adapter(settings())

    def push(save, *_, **__):
        save(tmp_path / "pushed")
        files.extend(load_file(tmp_path / name / "adapter_model.safetensors").keys() for name in ("pushed", "saved"))

    monkeypatch.setattr("beit.models_torch.saving.push_model", push)
    model.save_pretrained(tmp_path / "saved", push_to_hub=True, repo_id="me/adapter", save_peft_format=not plain)
    assert files[0] == files[1]
    assert all(name.startswith("base_model.model.") != plain for name in files[0])


def test_a_model_beside_its_adapter_is_loaded_without_it_and_says_so(tmp_path, caplog):
    model = made(beit)
    model.save_pretrained(tmp_path)
    model.add_adapter(settings())
    model.save_pretrained(tmp_path)
    loaded = beit.BeitForImageClassification.from_pretrained(tmp_path)
    assert "holds an adapter too, which is not loaded: add it by model.load_adapter(" in caplog.text
    assert not loaded.has_adapters
    loaded.load_adapter(tmp_path)
    assert_close(logits(loaded), logits(model))


def test_nobody_is_asked_about_the_model_of_an_adapter(tmp_path, monkeypatch):
    """Whose name in the file of a stranger may be any on the hub."""
    model = made(beit)
    model.name_or_path = "someone/elses"
    model.add_adapter(settings())
    asked = []
    monkeypatch.setattr("peft.utils.save_and_load.check_file_exists_on_hf_hub", lambda *given: asked.append(given))
    model.save_pretrained(tmp_path)
    made(beit).load_adapter(tmp_path)
    assert asked == []


def test_an_adapter_of_a_model_with_other_tokens_holds_no_embeddings(tmp_path):
    made(beit, "BeitForMaskedImageModeling").save_pretrained(tmp_path / "base")
    model = beit.BeitForMaskedImageModeling.from_pretrained(tmp_path / "base", vocab_size=16)
    model.add_adapter(settings())
    assert all(".lora_" in name for name in model.get_adapter_state_dict())
