"""Configs in timm's form: written here for timm, and read here from timm."""

import pytest

from beit.catalog import preset
from beit.config import BeitConfig
from beit.errors import ConfigError
from beit.weights import timm_config
from beit.weights.timm_config import timm_hints


def test_a_classifier_as_timm_describes_it():
    config = preset(
        "large",
        image_size=384,
        num_labels=21,
        use_mean_pooling=True,
        use_relative_position_bias=True,
        use_shared_relative_position_bias=False,
        architectures=["BeitForImageClassification"],
    )
    assert timm_config(config) == {
        "architecture": "beit_large_patch16_384",
        "num_classes": 21,
        "num_features": 1024,
        "global_pool": "avg",
        "model_args": {
            "img_size": [384, 384],
            "patch_size": 16,
            "embed_dim": 1024,
            "depth": 24,
            "num_heads": 16,
            "mlp_ratio": 4.0,
            "num_classes": 21,
            "in_chans": 3,
            "global_pool": "avg",
            "init_values": 1e-5,
            "use_abs_pos_emb": False,
            "use_rel_pos_bias": True,
            "use_shared_rel_pos_bias": False,
        },
        "pretrained_cfg": {
            "input_size": [3, 384, 384],
            "fixed_input_size": True,
            "interpolation": "bicubic",
            "mean": [0.5, 0.5, 0.5],
            "std": [0.5, 0.5, 0.5],
            "num_classes": 21,
            "first_conv": "patch_embed.proj",
            "classifier": "head",
        },
    }


def test_a_model_without_a_head_of_an_unusual_size():
    options = {"hidden_size": 32, "num_attention_heads": 4, "image_size": [32, 48], "patch_size": [8, 16]}
    config = BeitConfig(**options, use_mean_pooling=False, layer_scale_init_value=0.0, architectures=["BeitModel"])
    written = timm_config(config)
    assert written["architecture"] == "beit_base_patch16_224"
    assert (written["num_classes"], written["global_pool"]) == (0, "token")
    arguments = written["model_args"]
    assert (arguments["img_size"], arguments["patch_size"]) == ([32, 48], [8, 16])
    assert (arguments["num_classes"], arguments["global_pool"]) == (0, "token")
    assert arguments["init_values"] is None
    assert written["pretrained_cfg"]["input_size"] == [3, 32, 48]


@pytest.mark.parametrize("image_size", [64, (32, 48)])
def test_what_is_written_is_read(image_size):
    config = BeitConfig(hidden_size=32, num_attention_heads=4, image_size=image_size, patch_size=8)
    size = image_size if isinstance(image_size, int) else list(image_size)
    assert timm_hints(timm_config(config)) == {"image_size": size, "num_attention_heads": 4}


def test_names_of_classes_are_kept():
    config = BeitConfig(id2label={0: "cat", 1: "dog"}, architectures=["BeitForImageClassification"])
    written = timm_config(config)
    assert written["label_names"] == ["cat", "dog"]
    assert timm_hints(written)["id2label"] == {0: "cat", 1: "dog"}
    assert "label_names" not in timm_config(BeitConfig(num_labels=2, architectures=["BeitForImageClassification"]))
    assert "label_names" not in timm_config(BeitConfig(id2label={0: "cat", 1: "dog"}, architectures=["BeitModel"]))


def test_what_pictures_are_shown_as_is_kept():
    written = timm_config(BeitConfig(), {"mean": [0.1, 0.2, 0.3], "crop_pct": 0.9})["pretrained_cfg"]
    assert (written["mean"], written["std"], written["crop_pct"]) == ([0.1, 0.2, 0.3], [0.5] * 3, 0.9)


@pytest.mark.parametrize(
    ("found", "hints"),
    [
        (None, {}),
        ({"model_args": {"img_size": 384}}, {}),  # no config of timm
        ({"architecture": "beit"}, {}),
        ({"architecture": "beit", "model_args": {"img_size": 384, "num_heads": 6}}, (384, 6)),
        ({"architecture": "beit", "pretrained_cfg": {"input_size": [3, 192, 192]}}, {"image_size": 192}),
        ({"architecture": "beit", "pretrained_cfg": {"input_size": [3, 192, 96]}}, {"image_size": [192, 96]}),
        ({"architecture": "beit", "model_args": {"img_size": 384}, "pretrained_cfg": {"input_size": [3, 224, 224]}},
         {"image_size": 384}),  # what the model has wins over what it was first trained with
        ({"architecture": "beit", "model_args": {"img_size": "large", "num_heads": "many"}}, {}),
        ({"architecture": "beit", "model_args": {"img_size": [64, "x"]}}, {}),
        ({"architecture": "beit", "model_args": {"img_size": [64]}}, {}),
        ({"architecture": "beit", "label_names": ["a", "b"]}, {"id2label": {0: "a", 1: "b"}}),
        ({"architecture": "beit", "pretrained_cfg": {"label_names": ["a"]}}, {"id2label": {0: "a"}}),
        ({"architecture": "beit", "label_names": "imagenet"}, {}),
        ({"architecture": "beit", "label_names": ["a", 1]}, {}),
    ],
)  # fmt: skip
def test_configs_of_timm(found, hints):
    assert timm_hints(found) == (
        hints if isinstance(hints, dict) else dict(zip(("image_size", "num_attention_heads"), hints, strict=True))
    )


def test_what_timm_cannot_say():
    with pytest.raises(ConfigError, match="hidden_act is 'relu'; timm's BEiT has gelu only"):
        timm_config(BeitConfig(hidden_act="relu"))
