"""One body of checks over every model of both frameworks; what only one of them has is tested in its own folder.

Legend: B batch, N patches, S = 1 + N sequence, D hidden, H heads, K classes, V codebook size.
"""

import copy
import functools
import pickle
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
import pytest
import torch

import beit
from beit import BeitConfig
from beit.errors import ConfigError
from beit.models_flax.tree import joined
from tests.conftest import TINY_MODEL

pytestmark = pytest.mark.e2e  # compiled, or of every model

B, D, H, V, K, PATCH = 2, 32, 4, 64, 5, 8
PIXELS = np.random.default_rng(0).normal(size=(B, 3, 32, 32)).astype(np.float32)
MASK = np.random.default_rng(1).random((B, 16)) < 0.4
EVERYTHING = {"output_hidden_states": True, "output_attentions": True}
PER_LAYER, SHARED = {"use_relative_position_bias": True}, {"use_shared_relative_position_bias": True}
FOUR_LAYERS = {"num_hidden_layers": 4, "out_indices": [1, 2, 3, 4]}


@dataclass(frozen=True)
class Kind:
    """A model: its class, its options, and the shapes of its outputs for a grid of patches."""

    name: str
    options: dict[str, Any]
    shapes: Any


def pyramid(rows, columns):
    return [(B, D, int(rows * scale), int(columns * scale)) for scale in (4, 2, 1, 0.5)]


KINDS = {
    "model": Kind(
        "BeitModel",
        {**PER_LAYER, "use_mask_token": True},
        lambda rows, columns: {"last_hidden_state": (B, 1 + rows * columns, D), "pooler_output": (B, D)},
    ),
    "mim": Kind(
        "BeitForMaskedImageModeling",
        {**SHARED, "use_mask_token": True},
        lambda rows, columns: {"logits": (B, rows * columns, V)},
    ),
    "classify": Kind(
        "BeitForImageClassification",
        {"use_absolute_position_embeddings": True, "num_labels": K},
        lambda rows, columns: {"logits": (B, K)},
    ),
    "segment": Kind(
        "BeitForSemanticSegmentation",
        {**PER_LAYER, **FOUR_LAYERS, "num_labels": K, "pool_scales": [1, 2]},
        lambda rows, columns: {"logits": (B, K, 4 * rows, 4 * columns)},
    ),
    "backbone": Kind(
        "BeitBackbone",
        {**PER_LAYER, **FOUR_LAYERS, "add_fpn": True},
        lambda rows, columns: {"feature_maps": pyramid(rows, columns)},
    ),
}
MASKED = ("model", "mim")  # those that take a mask in both frameworks


class Torch:
    """The models in PyTorch."""

    @staticmethod
    def kind(name):
        return getattr(beit, name)

    @staticmethod
    def randomised(model):
        torch.manual_seed(0)
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.2)
        return model.eval()

    @staticmethod
    def call(model, **arguments):
        given = {name: torch.tensor(value) if isinstance(value, np.ndarray) else value
                 for name, value in arguments.items()}  # fmt: skip
        with torch.no_grad():
            return model(**given)

    @staticmethod
    def tensors(model):
        return {name: tensor.numpy() for name, tensor in model.state_dict().items()}


class Flax:
    """The models in JAX."""

    @staticmethod
    def kind(name):
        return getattr(beit, f"Flax{name}")

    @staticmethod
    def randomised(model):
        draw = np.random.default_rng(0)

        def noisy(leaf):  # all but the counts of batch norms
            return leaf + 0.2 * draw.normal(size=leaf.shape).astype(np.float32) if leaf.ndim else leaf

        model.params = jax.tree.map(noisy, model.params)
        return model

    @staticmethod
    def call(model, **arguments):
        return model(**arguments)

    @staticmethod
    def tensors(model):
        return {name: np.asarray(leaf) for name, leaf in joined(model.params).items()}


@functools.cache
def made(framework, kind):
    """The model with random values; tests share it and change nothing."""
    config = BeitConfig(**TINY_MODEL | KINDS[kind].options, drop_path_rate=0.0)
    return framework.randomised(framework.kind(KINDS[kind].name)(config))


@functools.cache
def everything(framework, kind):
    return framework.call(made(framework, kind), pixel_values=PIXELS, **EVERYTHING)


def shapes_of(value):
    return [tuple(part.shape) for part in value] if isinstance(value, tuple) else tuple(value.shape)


def leaves(values):
    return [np.asarray(leaf) for value in values for leaf in (value if isinstance(value, tuple) else (value,))]


def assert_equal(one, other):
    assert len(leaves(one)) == len(leaves(other)) > 0
    for first, second in zip(leaves(one), leaves(other), strict=True):
        np.testing.assert_array_equal(first, second)


frameworks = pytest.mark.parametrize("framework", [Torch, Flax], ids=lambda framework: framework.__name__)
kinds = pytest.mark.parametrize("kind", KINDS)


@frameworks
@kinds
def test_names_and_shapes_of_the_outputs(framework, kind):
    output, layers = everything(framework, kind), made(framework, kind).config.num_hidden_layers
    expected = KINDS[kind].shapes(4, 4) | {
        "hidden_states": [(B, 17, D)] * (layers + 1),
        "attentions": [(B, H, 17, 17)] * layers,
    }
    assert list(output) == list(expected)
    assert {name: shapes_of(value) for name, value in output.items()} == expected
    first = next(iter(expected))
    assert output[first] is getattr(output, first) is output[0]
    for maps in output.attentions:
        np.testing.assert_allclose(np.asarray(maps).sum(-1), 1, atol=1e-5)
    assert "loss" not in output
    with pytest.raises(KeyError):
        output["loss"]


@frameworks
@kinds
def test_a_tuple_has_hidden_states_and_attentions_too(framework, kind):
    """The published Flax models drop them."""
    given = framework.call(made(framework, kind), pixel_values=PIXELS, return_dict=False, **EVERYTHING)
    assert type(given) is tuple
    assert_equal(given, everything(framework, kind).to_tuple())


@frameworks
def test_the_config_decides_what_is_returned(framework):
    config = BeitConfig(**TINY_MODEL, output_hidden_states=True, return_dict=False)
    given = framework.call(framework.kind("BeitModel")(config), pixel_values=PIXELS)
    assert isinstance(given, tuple)
    assert len(given) == 3


@frameworks
@kinds
def test_a_saved_model_is_the_one_that_is_loaded(framework, kind, tmp_path):
    model = made(framework, kind)
    model.save_pretrained(tmp_path)
    loaded = type(model).from_pretrained(tmp_path)
    tensors, again = framework.tensors(model), framework.tensors(loaded)
    assert tensors.keys() == again.keys()
    assert [name for name in tensors if not np.array_equal(tensors[name], again[name])] == []
    assert not loaded.load_report.new
    asked, found = (config.to_dict() | {"torch_dtype": "float32"} for config in (model.config, loaded.config))
    assert asked == found


@frameworks
def test_copies_and_pickles(framework):
    model = made(framework, "mim")
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):  # noqa: S301  # our own
        given = framework.call(other, pixel_values=PIXELS, **EVERYTHING)
        assert_equal(given.values(), everything(framework, "mim").values())


@frameworks
@kinds
def test_pictures_of_another_size(framework, kind):
    """Nothing but what was asked for is returned."""
    arguments = {"pixel_values": PIXELS.reshape(B, 3, 64, 16)[:, :, :48]}
    expected = KINDS[kind].shapes(6, 2)
    if kind == "segment":
        arguments["labels"], expected = np.arange(B * 48 * 16).reshape(B, 48, 16) % K, {"loss": (), **expected}
    if kind in MASKED:
        arguments["bool_masked_pos"] = np.arange(B * 12).reshape(B, 6, 2) % 3 == 0
    output = framework.call(made(framework, kind), **arguments)
    assert list(output) == list(expected)
    assert {name: shapes_of(value) for name, value in output.items()} == expected
    assert all(np.isfinite(leaf).all() for leaf in leaves(output.values()))


@pytest.mark.parametrize("kind", ["model", "mim", "classify", "segment"])  # of PyTorch: no other model takes the mask
def test_half_of_the_heads(kind):
    """Masked in every layer: as if the projection behind them read nothing from these heads."""
    model, head_mask = made(Torch, kind), np.array([1, 0, 0, 1], np.float32)
    masked = Torch.call(model, pixel_values=PIXELS, head_mask=head_mask)[0]
    assert abs(masked - everything(Torch, kind)[0]).max() > 0.01
    without = copy.deepcopy(model)
    for layer in without.base_model.encoder.layer:
        layer.attention.output.dense.weight.data *= torch.from_numpy(head_mask).repeat_interleave(D // H)
    expected = Torch.call(without, pixel_values=PIXELS)[0]
    np.testing.assert_allclose(masked, expected, atol=1e-4 * float(expected.abs().max()))


BAD_PIXELS = [
    (None, "pixel_values is missing"),
    (np.zeros((1, 4, 32, 32), np.float32), r"shape \(1, 4, 32, 32\); expected \(batch, 3, height, width\)"),
    (PIXELS[0], r"shape \(3, 32, 32\); expected \(batch, 3, height, width\)"),
    (PIXELS.astype(np.uint8), r"pixel_values has dtype (torch\.)?uint8"),
    (np.zeros((1, 3, 33, 32), np.float32), "image height 33 is not a multiple of patch size 8; resize to 32 or 40"),
    (np.zeros((1, 3, 32, 4), np.float32), "image width 4 is not a multiple of patch size 8; resize to 8"),
]


@frameworks
@kinds
@pytest.mark.parametrize(("pixels", "message"), BAD_PIXELS, ids=[message[:24] for _, message in BAD_PIXELS])
def test_pixels_that_do_not_fit(framework, kind, pixels, message):
    with pytest.raises(ConfigError, match=message):
        framework.call(made(framework, kind), pixel_values=pixels)


@frameworks
@pytest.mark.parametrize("kind", MASKED)
@pytest.mark.parametrize("mask", [MASK[:, :15], MASK[:1], MASK[0]], ids=["patches", "batch", "no batch"])
def test_masks_that_do_not_fit(framework, kind, mask):
    with pytest.raises(ConfigError, match=r"bool_masked_pos has shape .*; expected one value per patch"):
        framework.call(made(framework, kind), pixel_values=PIXELS, bool_masked_pos=mask)


@frameworks
def test_a_mask_needs_a_mask_token(framework):
    model = framework.kind("BeitModel")(BeitConfig(**TINY_MODEL))
    with pytest.raises(ConfigError, match="use_mask_token=True"):
        framework.call(model, pixel_values=PIXELS, bool_masked_pos=MASK)


@frameworks
@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("BeitForSemanticSegmentation", {"out_indices": [1, 2, 3]}, r"is \[1, 2, 3\]; segmentation needs four layers"),
        ("BeitForSemanticSegmentation", {"out_indices": [0, 1, 2, 3]}, "needs four layers, from 1 to 4"),
        (
            "BeitForSemanticSegmentation",
            {"out_indices_meaning": "original"},
            "segmentation needs four layers, from 0 to 3",
        ),
        ("BeitForSemanticSegmentation", {"num_labels": 0}, "num_labels is 0; segmentation needs classes"),
        (
            "BeitForSemanticSegmentation",
            {"auxiliary_num_convs": 0},
            "auxiliary_num_convs is 0 and auxiliary_channels 256 is not hidden_size 32; make them equal or use a conv",
        ),
        (
            "BeitBackbone",
            {"out_indices": [1, 2], "add_fpn": True},
            "add_fpn needs four out_features and reshape_hidden_states=True",
        ),
    ],
)
def test_configs_that_cannot_work(framework, name, options, message):
    with pytest.raises(ConfigError, match=message):
        framework.kind(name)(BeitConfig(**TINY_MODEL | FOUR_LAYERS | {"num_labels": K} | options))
