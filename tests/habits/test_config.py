"""What is done with a config after it was made."""

import json

import pytest
import torch

import beit
from beit.errors import ConfigError
from tests.conftest import TINY_MODEL
from tests.habits.pairs import both, made, transformers

NAMES = ["hidden_size", "out_features", "out_indices", "label2id", "id2label", "num_labels"]


def options(config):
    return {name: getattr(config, name) for name in NAMES}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("out_indices", [1, 3]), ("out_indices", (1, 3)), ("out_indices", [-1]), ("out_indices", None),
        ("out_features", ["stem", "stage2"]), ("out_features", None),
    ],
)  # fmt: skip
def test_stages_that_are_set_later_stay_aligned(tmp_path, name, value):
    ours, theirs = (library.BeitConfig(out_indices=[1, 2]) for library in (beit, transformers))
    for config in (ours, theirs):
        setattr(config, name, value)
    assert (ours.out_features, ours.out_indices) == (theirs.out_features, theirs.out_indices)
    ours.save_pretrained(tmp_path)
    for library in (beit, transformers):
        loaded = library.BeitConfig.from_pretrained(tmp_path)
        assert (loaded.out_features, loaded.out_indices) == (theirs.out_features, theirs.out_indices)


@both
def test_stages_that_are_not_there_are_refused_when_set(library):
    config = library.BeitConfig()
    with pytest.raises(ValueError, match="stage"):
        config.out_features = ["stage99"]
    assert library is transformers or config.out_features == ["stage12"]


def test_a_backbone_changes_its_stages():
    ours, theirs = (made(library, "BeitBackbone") for library in (beit, transformers))
    for model in (ours, theirs):
        model.out_indices = [0, 2]
    assert (ours.out_features, ours.out_indices) == (theirs.out_features, theirs.out_indices) == (
        ["stem", "stage2"], [0, 2],
    )  # fmt: skip
    ours.out_features = ["stage4"]
    assert (ours.config.out_indices, ours.channels) == ([4], [32])


def test_unused_arguments_are_returned(tmp_path):
    beit.BeitConfig(hidden_size=48, num_attention_heads=4).save_pretrained(tmp_path)
    found = {}
    for library in (beit, transformers):
        config, unused = library.BeitConfig.from_pretrained(
            tmp_path, return_unused_kwargs=True, foo=False, hidden_size=64, num_labels=5
        )
        assert not hasattr(config, "foo")
        found[library] = unused, options(config)
    assert found[beit] == found[transformers]
    assert found[beit][0] == {"foo": False}
    config, unused = beit.BeitConfig.from_dict({}, return_unused_kwargs=True, bar=1)
    assert unused == {"bar": 1}


def test_the_content_of_a_file(tmp_path):
    beit.BeitConfig(num_labels=3).save_pretrained(save_directory=tmp_path)
    ours, rest = beit.BeitConfig.get_config_dict(tmp_path, foo=1)
    theirs, _ = transformers.BeitConfig.get_config_dict(tmp_path, foo=1)
    assert rest == {"foo": 1}
    assert ours == {name: value for name, value in theirs.items() if not name.startswith("_")}


def test_many_options_at_once():
    found = []
    for library in (beit, transformers):
        config = library.BeitConfig()
        config.update({"hidden_size": 96, "id2label": {0: "cat", 1: "dog", 2: "owl"}, "mine": "kept"})
        config.update_from_string("hidden_size=192,use_mask_token=true,layer_norm_eps=1e-6,hidden_act=relu")
        found.append(
            [*options(config).items(), config.use_mask_token, config.layer_norm_eps, config.hidden_act, config.mine]
        )
        config.update(library.BeitConfig(hidden_size=24).to_dict())
        assert config.hidden_size == 24
    assert found[0] == found[1]


@both
@pytest.mark.parametrize("text", ["nothing=1", "use_mask_token=perhaps", "hidden_size=many", "pool_scales=1"])
def test_texts_that_are_no_options(library, text):
    with pytest.raises((ValueError, TypeError), match=r"\w"):
        library.BeitConfig().update_from_string(text)


def test_an_update_that_cannot_work_changes_nothing():
    config = beit.BeitConfig()
    with pytest.raises(beit.BeitError, match="hidden_size 770 is not a multiple"):
        config.update({"num_labels": 7, "hidden_size": 770})
    assert config == beit.BeitConfig()


@pytest.mark.parametrize("use_diff", [True, False])
def test_files_of_json(tmp_path, use_diff):
    for library in (beit, transformers):
        config = library.BeitConfig(num_labels=3, use_mask_token=True)
        config.to_json_file(tmp_path / "a.json", use_diff=use_diff)
        written = json.loads((tmp_path / "a.json").read_text())
        assert written["use_mask_token"] is True
        assert "use_diff" not in json.loads(config.to_json_string(use_diff=use_diff))
        loaded = beit.BeitConfig.from_json_file(tmp_path / "a.json")
        assert loaded.num_labels == 3


def test_differences_from_the_defaults():
    ours, theirs = (library.BeitConfig(num_labels=3).to_diff_dict() for library in (beit, transformers))
    del theirs["transformers_version"]
    assert ours == theirs


@pytest.mark.parametrize(
    "given", [{}, {"num_labels": 3}, {"id2label": {0: "cat"}, "label2id": {"cat": 0}}, {"problem_type": "regression"}]
)
def test_every_option_in_a_dict(given):
    """Those at their defaults too: `config.to_dict()["id2label"][0]` names a class of every model."""
    ours, theirs = (library.BeitConfig(**given) for library in (beit, transformers))
    expected = theirs.to_dict()
    for name in ("_name_or_path", "transformers_version", "dtype"):  # the last is that of 5.x for torch_dtype
        del expected[name]
    assert {name: ours.to_dict()[name] for name in expected} == expected
    for read in (beit.BeitConfig.from_dict, lambda options: beit.BeitConfig(**options)):
        assert read(ours.to_dict()) == ours
    again = beit.BeitConfig()
    again.update(ours.to_dict())
    assert again == ours
    assert beit.BeitConfig.from_dict(json.loads(ours.to_json_string(use_diff=False))) == ours


def test_a_dict_of_options_is_a_copy():
    config = beit.BeitConfig(num_labels=2)
    options = config.to_dict()
    options["pool_scales"].append(9)
    options["id2label"][0] = options["out_indices"][0] = "other"
    assert config == beit.BeitConfig(num_labels=2)


def test_a_refused_update_leaves_the_type_of_parameters():
    config = beit.BeitConfig(torch_dtype="float16")
    with pytest.raises(beit.BeitError, match="hidden_size 770"):
        config.update({"torch_dtype": "float32", "hidden_size": 770})
    assert config.torch_dtype is torch.float16


@both
def test_names_stay_where_their_number_does(library):
    config = library.BeitConfig(id2label={0: "cat", 1: "dog", 2: "cow"})
    config.num_labels = 3
    assert config.id2label == {0: "cat", 1: "dog", 2: "cow"}
    config.num_labels = 4
    assert config.id2label[0] == "LABEL_0"


@both
def test_names_stay_where_the_number_that_is_asked_for_is_theirs(tmp_path, library):
    names = {0: "cat", 1: "dog", 2: "cow"}
    made(library, id2label=names, label2id={name: index for index, name in names.items()}).save_pretrained(tmp_path)
    same = library.BeitForImageClassification.from_pretrained(tmp_path, num_labels=3).config
    assert (same.id2label, same.label2id["cow"]) == (names, 2)
    assert library.BeitConfig.from_pretrained(tmp_path, num_labels=4).id2label[0] == "LABEL_0"


def test_fewer_layers_by_an_attribute(tmp_path):
    """The last stage, which a backbone returns by default, is that of the new depth."""
    config = beit.BeitConfig(**TINY_MODEL | {"num_hidden_layers": 6})
    config.num_hidden_layers = 2
    assert (config.out_features, config.out_indices) == (["stage2"], [2])
    beit.BeitModel(config).save_pretrained(tmp_path)
    assert len(beit.BeitModel.from_pretrained(tmp_path).encoder.layer) == 2
    loaded = beit.BeitConfig.from_pretrained(tmp_path)
    loaded.num_hidden_layers = 1
    assert len(beit.BeitBackbone(loaded)(torch.randn(1, 3, 32, 32)).feature_maps) == 1
    assert beit.BeitConfig(out_indices=[12]) == beit.BeitConfig(out_features=["stage12"]) == beit.BeitConfig()


def test_stages_that_were_named_do_not_follow():
    config = beit.BeitConfig(**TINY_MODEL | {"num_hidden_layers": 6}, out_indices=[2, 4])
    config.num_hidden_layers = 3
    with pytest.raises(ConfigError, match=r"out_features holds \['stage4'\], and num_hidden_layers is 3; expected"):
        beit.BeitBackbone(config)
    config.out_indices = [2, 3]
    assert beit.BeitBackbone(config).channels == [32, 32]


def test_segmentation_reads_the_layers_that_its_config_names(tmp_path):
    torch.manual_seed(0)
    options = {"num_hidden_layers": 4, "out_indices": [1, 2, 3, 4], "num_labels": 3, "layer_scale_init_value": 1.0}
    model = beit.BeitForSemanticSegmentation(beit.BeitConfig(**TINY_MODEL | options, initializer_range=0.2)).eval()
    pixels = torch.randn(1, 3, 32, 32)
    before = model(pixels).logits
    model.config.out_indices_meaning, model.config.out_indices = "original", [0, 1, 2, 3]
    after = model(pixels).logits
    assert (after - before).abs().max() > 1e-3
    model.save_pretrained(tmp_path)
    assert torch.equal(beit.BeitForSemanticSegmentation.from_pretrained(tmp_path)(pixels).logits, after)


def test_labels_by_one_mapping():
    for given in ({"num_labels": 3}, {"id2label": {"0": "a", "1": "b"}, "label2id": {"a": 0, "b": 1}}, {}):
        assert options(beit.BeitConfig(**given)) == options(transformers.BeitConfig(**given))


def test_where_a_model_came_from(tmp_path):
    for library in (beit, transformers):
        assert library.BeitConfig().name_or_path == ""
        assert not getattr(library.BeitConfig(), "is_composition", False)
        assert library.BeitConfig().use_return_dict is True
        made(library).save_pretrained(tmp_path / library.__name__)
        model = library.BeitForImageClassification.from_pretrained(tmp_path / library.__name__)
        assert model.config.name_or_path == model.name_or_path == str(tmp_path / library.__name__)


@both
def test_checkpointing_by_the_config(library):
    config = library.BeitConfig(hidden_size=32, num_hidden_layers=1, num_attention_heads=4, intermediate_size=32)
    config.gradient_checkpointing = True
    model = library.BeitModel(config)
    assert library is transformers or model.is_gradient_checkpointing  # theirs dropped it in 5.x; 4.37.2 takes it
    model.gradient_checkpointing_disable()
    assert not model.is_gradient_checkpointing


def test_checkpointing_by_an_argument(tmp_path):
    model = beit.BeitModel(beit.BeitConfig(num_hidden_layers=1, gradient_checkpointing=True))
    assert model.is_gradient_checkpointing
    with pytest.raises(beit.BeitError, match="gradient_checkpointing is 1; expected true or false"):
        beit.BeitConfig(gradient_checkpointing=1)


@pytest.mark.parametrize("kind", ["BeitConfig", "BeitImageProcessor"])
def test_arguments_of_loading_are_no_options(tmp_path, kind):
    """An access token, above all, must not be written into a file that others read."""
    beit.BeitImageProcessor().save_pretrained(tmp_path)
    beit.BeitConfig().save_pretrained(tmp_path)
    cls = getattr(beit, kind)
    loaded = cls.from_pretrained(
        tmp_path, use_auth_token=__name__, trust_remote_code=True, resume_download=False, proxies=None,
        mirror=None, code_revision=None, use_fast=False, _from_auto=False, _commit_hash=None,
    )  # fmt: skip
    assert loaded.to_dict() == cls().to_dict()
    assert __name__ not in loaded.to_json_string()


def test_the_old_name_of_the_token_counts(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr("beit.hub.saved_options.hub_file", lambda name, file, options: asked.append(options.token))
    with pytest.raises(OSError, match=r"has no config\.json"):
        beit.BeitConfig.from_pretrained("someone/model", use_auth_token=__name__)
    assert asked == [__name__]


@both
@pytest.mark.parametrize("given", ["float16", torch.float16])
def test_the_type_of_parameters_is_one_of_torch(tmp_path, library, given):
    """`pixel_values.to(model.config.torch_dtype)` stands in many scripts."""
    config = library.BeitConfig(dtype=given)
    assert config.dtype is torch.float16
    assert json.loads(config.to_json_string())["torch_dtype" if library is beit else "dtype"] == "float16"
    assert library.BeitConfig().dtype is None
    made(library).half().save_pretrained(tmp_path)
    kind = library.BeitForImageClassification
    assert kind.from_pretrained(tmp_path, dtype="auto").config.dtype is torch.float16
    assert kind.from_pretrained(tmp_path, dtype=torch.bfloat16).config.dtype is torch.bfloat16
    assert library is transformers or beit.BeitConfig(torch_dtype=given).torch_dtype is torch.float16


@both
def test_the_way_of_attention_is_kept_in_the_config(tmp_path, library):
    model = made(library, attn_implementation="eager")
    assert model.config._attn_implementation == "eager"
    model.set_attn_implementation("sdpa")
    assert model.config._attn_implementation == "sdpa"
    model.save_pretrained(tmp_path)
    assert "attn_implementation" not in (tmp_path / "config.json").read_text()
    kind = library.BeitForImageClassification
    assert kind.from_pretrained(tmp_path, attn_implementation="eager").config._attn_implementation == "eager"
    assert kind.from_pretrained(tmp_path).config._attn_implementation == "sdpa"


def test_options_of_every_published_config():
    config = beit.BeitConfig()
    assert (config.is_encoder_decoder, config.tie_word_embeddings, config.chunk_size_feed_forward) == (False, True, 0)
    assert beit.BeitConfig(finetuning_task="animals").to_dict()["finetuning_task"] == "animals"
    assert not hasattr(config, "hidden_sizes")
    assert "is_encoder_decoder" not in config.to_diff_dict()
