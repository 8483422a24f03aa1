"""Classes that users derive from ours, with heads and layers of their own, as the published guides show it."""

from typing import ClassVar

import pytest
import torch
from torch import nn

import beit
from tests.habits.pairs import both, made, pixels, transformers


def classes(library):
    """Derived classes of a library, by what is special about them."""

    class OwnHead(library.BeitPreTrainedModel):
        def __init__(self, config):
            super().__init__(config)
            self.num_labels = config.num_labels
            self.beit = library.BeitModel(config, add_pooling_layer=True)
            self.head = nn.Sequential(nn.LayerNorm(config.hidden_size), nn.Linear(config.hidden_size, 5))
            self.post_init()

        def forward(self, pixel_values):
            return self.head(self.beit(pixel_values).pooler_output)

    class OwnValues(library.BeitPreTrainedModel):
        def __init__(self, config, width=4):
            super().__init__(config)
            self.beit = library.BeitModel(config)
            self.queries = nn.Parameter(torch.full((3, width), 7.0))
            self.adapter = nn.Linear(width, width)
            self.register_buffer("scale", torch.arange(3.0), persistent=False)
            self.post_init()

        def _init_weights(self, module):
            if module is getattr(self, "adapter", None):
                nn.init.constant_(module.weight, 3.0)
            else:
                super()._init_weights(module)

    class OtherClasses(library.BeitForImageClassification):
        def __init__(self, config):
            super().__init__(config)
            self.classifier = nn.Linear(config.hidden_size, 7)
            self.post_init()

    class MoreLayers(library.BeitModel):
        def __init__(self, config):
            super().__init__(config)
            self.classifier = nn.Linear(config.hidden_size, 2)
            self.extra = nn.LayerNorm(config.hidden_size)
            self.post_init()

    class Silent(OwnHead):
        _keys_to_ignore_on_load_missing: ClassVar = [r"head"]
        _keys_to_ignore_on_load_unexpected: ClassVar = [r"classifier"]

    return {kind.__name__: kind for kind in (OwnHead, OwnValues, OtherClasses, MoreLayers, Silent)}


def differences(info):
    return {key: sorted(name if isinstance(name, str) else name[0] for name in info[key]) for key in info}


NAMES = list(classes(beit))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("source", ["BeitModel", "BeitForImageClassification", "BeitForMaskedImageModeling"])
def test_published_weights_go_into_own_classes(tmp_path, name, source):
    """The encoder is loaded, own parts are new, and the same is reported as by transformers."""
    model = made(beit, source)
    model.save_pretrained(tmp_path)
    options = {"ignore_mismatched_sizes": True, "output_loading_info": True}
    ours, info = classes(beit)[name].from_pretrained(tmp_path, **options)
    encoder = ours.base_model
    assert torch.equal(
        encoder.encoder.layer[0].output.dense.weight, model.base_model.encoder.layer[0].output.dense.weight
    )
    if name == "MoreLayers":
        return  # 5.x loads nothing into such a class
    _, theirs = classes(transformers)[name].from_pretrained(tmp_path, **options)
    found, expected = differences(info), differences(theirs)
    assert len(found["missing_keys"]) == len(expected["missing_keys"])  # some have other names in 5.x
    assert found["mismatched_keys"] == expected["mismatched_keys"]
    assert found["unexpected_keys"] == expected["unexpected_keys"]


@both
@pytest.mark.parametrize("name", NAMES)
def test_own_classes_come_back(tmp_path, name, library):
    model = classes(library)[name](made(library).config)
    for parameter in model.parameters():
        nn.init.normal_(parameter)
    model.save_pretrained(tmp_path)
    loaded, info = classes(library)[name].from_pretrained(tmp_path, output_loading_info=True)
    assert all(map(torch.equal, loaded.state_dict().values(), model.state_dict().values()))
    assert not any(info.values())
    assert not loaded.training


def test_values_of_the_constructor_stay(tmp_path):
    """Parameters that no rule initialises, and buffers that no file holds, keep what the constructor gave them."""
    made(beit).save_pretrained(tmp_path)
    own = classes(beit)["OwnValues"]
    for model in (own(made(beit).config), own.from_pretrained(tmp_path, width=6)):
        assert bool((model.queries == 7).all())
        assert model.scale.tolist() == [0, 1, 2]
        assert bool((model.adapter.weight == 3).all())
    assert model.queries.shape == (3, 6)


def test_an_encoder_keeps_its_initial_values():
    torch.manual_seed(0)
    plain = beit.BeitModel(made(beit).config)
    torch.manual_seed(0)
    own = classes(beit)["OwnHead"](made(beit).config)
    assert all(torch.equal(value, own.beit.state_dict()[name]) for name, value in plain.state_dict().items())
    assert own.head[1].weight.abs().max() <= 0.02
    assert bool((own.head[1].bias == 0).all())


@both
def test_a_head_of_another_type(library):
    model = made(library)
    model.classifier = nn.Sequential(nn.Dropout(0.1), nn.Linear(32, 9)).apply(model._init_weights)
    model.num_labels = model.config.num_labels = 9
    model(pixels(), labels=torch.tensor([8, 0])).loss.backward()
    assert model.classifier[1].weight.grad is not None


def test_nothing_in_common_is_refused(tmp_path):
    class Lost(beit.BeitPreTrainedModel):
        def __init__(self, config):
            super().__init__(config)
            self.trunk = beit.BeitModel(config)  # and base_model_prefix stays "beit"
            self.post_init()

    made(beit).save_pretrained(tmp_path)
    with pytest.raises(beit.BeitError, match=r"has no parameter of the model, .* base_model_prefix"):
        Lost.from_pretrained(tmp_path)


def test_a_missing_part_of_the_encoder_is_refused(tmp_path):
    model = made(beit, "BeitModel")
    values = {name: value for name, value in model.state_dict().items() if "layer.1.output" not in name}
    model.save_pretrained(tmp_path, state_dict=values)
    with pytest.raises(beit.BeitError, match=r"2 missing: .*encoder.layer.1.output.dense"):
        classes(beit)["OwnHead"].from_pretrained(tmp_path)
