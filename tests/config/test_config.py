import inspect
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beit.catalog import SIZES, preset
from beit.config import BeitConfig
from beit.errors import ConfigError
from tests.conftest import GOLDEN

PUBLISHED_DEFAULTS = {
    "vocab_size": 8192, "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12,
    "intermediate_size": 3072, "hidden_act": "gelu", "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0,
    "initializer_range": 0.02, "layer_norm_eps": 1e-12, "image_size": 224, "patch_size": 16, "num_channels": 3,
    "use_mask_token": False, "use_absolute_position_embeddings": False, "use_relative_position_bias": False,
    "use_shared_relative_position_bias": False, "layer_scale_init_value": 0.1, "drop_path_rate": 0.1,
    "use_mean_pooling": True, "pool_scales": [1, 2, 3, 6], "use_auxiliary_head": True, "auxiliary_loss_weight": 0.4,
    "auxiliary_channels": 256, "auxiliary_num_convs": 1, "auxiliary_concat_input": False,
    "semantic_loss_ignore_index": 255, "out_features": None, "out_indices": None, "add_fpn": False,
    "reshape_hidden_states": True,
}  # fmt: skip


def test_signature_is_the_published_one():
    parameters = list(inspect.signature(BeitConfig).parameters.values())
    assert parameters[-1].kind is inspect.Parameter.VAR_KEYWORD
    defaults = {p.name: list(p.default) if isinstance(p.default, tuple) else p.default for p in parameters[:-1]}
    assert defaults == PUBLISHED_DEFAULTS
    assert list(defaults) == list(PUBLISHED_DEFAULTS)


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("hf_v4/*/config.json")), ids=lambda path: path.parent.name)
def test_recorded_configs_come_back_unchanged(path):
    recorded = json.loads(path.read_text())
    written = json.loads(BeitConfig.from_json_file(path).to_json_string())
    assert {key: written[key] for key in recorded} == recorded


def test_unknown_keys_are_kept_and_readable(tmp_path):
    config = BeitConfig(batch_norm_eps=1e-5, torch_dtype="float32")
    config.save_pretrained(tmp_path)
    again = BeitConfig.from_pretrained(tmp_path)
    assert again == config
    assert again.batch_norm_eps == 1e-5
    with pytest.raises(AttributeError, match="no option 'batchnorm'"):
        again.batchnorm  # noqa: B018


@given(
    heads=st.integers(1, 8),
    width=st.integers(1, 16),
    layers=st.integers(1, 30),
    patch=st.integers(1, 32),
    grid=st.tuples(st.integers(1, 30), st.integers(1, 30)),
    labels=st.integers(0, 30),
    flags=st.lists(st.booleans(), min_size=5, max_size=5),
    scale=st.sampled_from([0, 0.1, 1e-5]),
)
def test_json_round_trip(heads, width, layers, patch, grid, labels, flags, scale):
    config = BeitConfig(
        hidden_size=heads * width,
        num_attention_heads=heads,
        num_hidden_layers=layers,
        patch_size=patch,
        image_size=[patch * grid[0], patch * grid[1]],
        num_labels=labels,
        use_mask_token=flags[0],
        use_absolute_position_embeddings=flags[1],
        use_relative_position_bias=flags[2],
        use_shared_relative_position_bias=flags[3],
        use_mean_pooling=flags[4],
        layer_scale_init_value=scale,
    )
    assert BeitConfig.from_dict(json.loads(config.to_json_string())) == config


def test_labels():
    config = BeitConfig(id2label={"0": "cat", "1": "dog", "2": "eel"})
    assert (config.num_labels, config.label2id["eel"]) == (3, 2)
    fresh = BeitConfig.from_dict(config.to_dict(), num_labels=5)
    assert (fresh.num_labels, fresh.id2label[4]) == (5, "LABEL_4")
    assert BeitConfig().num_labels == 2


def test_stages_are_aligned():
    assert BeitConfig(num_hidden_layers=6, out_indices=[2, 3, 4, 6]).out_features == [
        "stage2",
        "stage3",
        "stage4",
        "stage6",
    ]
    assert BeitConfig(num_hidden_layers=3, out_features=["stem", "stage2"]).out_indices == [0, 2]
    assert BeitConfig(num_hidden_layers=3).out_features == ["stage3"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image_size": 15}, "image height 15 is not a multiple of patch size 16; resize to 16"),
        ({"image_size": [224, 15]}, "image width 15 is not a multiple of patch size 16; resize to 16"),
        ({"hidden_size": 100}, "hidden_size 100 is not a multiple of num_attention_heads 12; use 96"),
        ({"hidden_size": "768"}, "hidden_size is '768'; expected a whole number of at least 1"),
        ({"drop_path_rate": 1.5}, "drop_path_rate is 1.5; expected a number from 0 to 1"),
        ({"layer_norm_eps": -1.0}, "layer_norm_eps is -1.0"),
        ({"hidden_act": "swish"}, "hidden_act is 'swish'; expected one of"),
        ({"image_size": "224"}, "neither a number of pixels nor a pair"),
        ({"problem_type": "ranking"}, "problem_type is 'ranking'"),
        ({"num_labels": -1}, "num_labels is -1"),
        ({"num_labels": "3"}, "num_labels is '3'"),
        ({"id2label": ["a"]}, "id2label is ['a']; expected {index: name}"),
        ({"id2label": {"a": "x"}}, "expected {index: name}"),
        ({"id2label": {1: "a", 5: "b"}}, "id2label has the indices [1, 5]; expected 0 to 1"),
        ({"out_indices": 3}, "out_indices is 3; expected a list"),
        ({"out_indices": [1], "out_features": True}, "out_features is True; expected a list"),
        ({"out_indices": ["a"]}, "out_indices holds 'a'"),
        ({"pool_scales": 3}, "pool_scales is 3; expected a list"),
        ({"use_mask_token": "false"}, "use_mask_token is 'false'; expected true or false"),
        (
            {"initializer_range": float("inf")},
            "initializer_range is inf; expected a number of at least 0, not infinite",
        ),
        ({"semantic_loss_ignore_index": "x"}, "semantic_loss_ignore_index is 'x'"),
        ({"num_labels": 3, "id2label": {0: "a"}}, "num_labels is 3 but id2label names 1"),
        ({"out_indices": [3, 5, 7, 13]}, "out_indices holds 13"),
        ({"out_features": ["stage13"]}, "out_features holds 'stage13'"),
        ({"out_features": ["stage1"], "out_indices": [2]}, "disagree"),
    ],
)
def test_bad_values_say_value_expectation_remedy(options, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        BeitConfig(**options)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not readable JSON"),
        ("[]", "holds a list"),
        ('{"model_type": "vit"}', "model of type 'vit'"),
        ("\xff", "is not readable JSON"),
    ],
)
def test_bad_files(tmp_path, content, message):
    (tmp_path / "config.json").write_bytes(content.encode("latin-1"))
    with pytest.raises(ConfigError, match=message):
        BeitConfig.from_pretrained(tmp_path)


def test_missing_file(tmp_path):
    with pytest.raises(ConfigError, match="does not exist"):
        BeitConfig.from_pretrained(tmp_path)


def test_a_callable_activation_cannot_be_written():
    with pytest.raises(ConfigError, match="which JSON cannot hold"):
        BeitConfig(hidden_act=abs).to_json_string()


@pytest.mark.parametrize("size", SIZES)
def test_presets_carry_position_information(size):
    config = preset(size)
    assert config.use_shared_relative_position_bias
    assert config.use_mask_token
    assert config.layer_norm_eps == 1e-6


def test_unknown_preset():
    with pytest.raises(ConfigError, match="no model size 'huge'"):
        preset("huge")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"out_indices": [4, 2]},
            r"out_indices is \[4, 2\]; expected each stage once, in the order of the layers: \[2, 4\]",
        ),
        ({"out_indices": [2, 2]}, r"expected each stage once, in the order of the layers: \[2\]"),
        ({"out_indices": [-1, 2]}, r"expected each stage once, in the order of the layers: \[2, 12\]"),
        ({"out_features": ["stage2", "stem"]}, r"in the order of the layers: \['stem', 'stage2'\]"),
        ({"out_features": ["stem", "stem"]}, r"expected each stage once"),
        ({"out_indices_meaning": "mmseg"}, "out_indices_meaning is 'mmseg'; expected one of"),
    ],
)
def test_stages_that_disagree_or_repeat(options, message):
    with pytest.raises(ConfigError, match=message):
        BeitConfig(**options)


def test_metadata_of_the_file_replaces_that_of_another_version():
    config = BeitConfig.from_dict({"dtype": "float32", "transformers_version": "5.0.0", "mine": 3})
    written = json.loads(config.to_json_string(torch_dtype="float16", dtype=None, transformers_version=None))
    assert written["torch_dtype"] == "float16"
    assert written["mine"] == 3
    assert not {"dtype", "transformers_version"} & written.keys()
