"""Arguments and outputs of a call, and errors before tracing."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import beit
from beit import (
    FlaxBeitBackbone,
    FlaxBeitForImageClassification,
    FlaxBeitForMaskedImageModeling,
    FlaxBeitForSemanticSegmentation,
    FlaxBeitModel,
    preset,
)
from beit.errors import CheckpointError, ConfigError
from beit.models_flax import embeddings
from beit.models_flax.tree import joined
from tests.conftest import TINY_MODEL

pytestmark = pytest.mark.e2e  # compiled, or of every model

NONE = inspect.Parameter.empty
PUBLISHED = {
    "pixel_values": NONE, "bool_masked_pos": None, "params": None, "dropout_rng": None, "train": False,
    "output_attentions": None, "output_hidden_states": None, "return_dict": None,
}  # fmt: skip
OUR_OWN = {name: default for name, default in PUBLISHED.items() if name != "bool_masked_pos"}
SIGNATURES = {
    FlaxBeitModel: PUBLISHED,
    FlaxBeitForMaskedImageModeling: PUBLISHED,
    FlaxBeitForImageClassification: PUBLISHED,
    FlaxBeitForSemanticSegmentation: {"pixel_values": NONE, "labels": None, **OUR_OWN},
    FlaxBeitBackbone: OUR_OWN,
}
KEY = jax.random.PRNGKey(1)
TINY = preset("tiny", **TINY_MODEL, drop_path_rate=0.0)
PIXELS = np.random.default_rng(0).normal(size=(2, 3, 32, 32)).astype(np.float32)
MASK = np.random.default_rng(1).random((2, 16)) < 0.4


@pytest.fixture(scope="module")
def mim():
    return FlaxBeitForMaskedImageModeling(TINY)


@pytest.fixture(scope="module")
def classifier():
    return FlaxBeitForImageClassification(preset("tiny", **TINY_MODEL, num_labels=3, use_mask_token=False))


def signature(function):
    return {name: parameter.default for name, parameter in inspect.signature(function).parameters.items()}


@pytest.mark.parametrize("model", SIGNATURES, ids=lambda model: model.__name__)
def test_signatures_are_the_published_ones(model):
    """Names, order and defaults."""
    assert list(signature(model.__call__).items())[1:] == list(SIGNATURES[model].items())
    published = {"config": NONE, "input_shape": None, "seed": 0, "dtype": jnp.float32, "_do_init": True}
    assert list(signature(model.__init__).items())[1:] == [*published.items(), ("scan_layers", False)]
    assert list(signature(model.init_weights))[1:] == ["rng", "input_shape", "params"]
    assert list(signature(model.save_pretrained))[1:3] == ["save_directory", "params"]
    assert next(iter(signature(model.from_pretrained))) == "pretrained_model_name_or_path"


def test_outputs_are_trees(mim):
    output = mim(PIXELS, MASK, output_hidden_states=True, output_attentions=True)
    doubled = jax.tree.map(lambda leaf: 2 * leaf, output)
    assert type(doubled) is type(output)
    np.testing.assert_array_equal(doubled.hidden_states[1], 2 * output.hidden_states[1])
    assert output.replace(logits=None).to_tuple() == output[1:]


def test_a_mask_counts_in_the_classifier_too():
    """The published classifier ignores it."""
    classifier = FlaxBeitForImageClassification(preset("tiny", **TINY_MODEL, num_labels=3))
    draw = np.random.default_rng(2)
    classifier.params = jax.tree.map(
        lambda leaf: leaf + 0.3 * draw.normal(size=leaf.shape).astype(np.float32), classifier.params
    )
    assert abs(classifier(PIXELS).logits - classifier(PIXELS, MASK).logits).max() > 0.01
    as_grid = classifier(PIXELS, MASK.reshape(2, 4, 4)).logits
    np.testing.assert_array_equal(as_grid, classifier(PIXELS, MASK).logits)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pixel_values": PIXELS.transpose(0, 2, 3, 1)}, r"channels-last: transpose them by \(0, 3, 1, 2\)"),
        ({"pixel_values": PIXELS[:, :, :31]}, "image height 31 is not a multiple of patch size 8; resize to 24 or 32"),
        ({"bool_masked_pos": MASK[:, :15]}, r"bool_masked_pos has shape \(2, 15\); expected one value per patch"),
    ],
)
def test_bad_input(mim, change, message):
    """Of a call, and of one that is traced."""
    arguments = {"pixel_values": PIXELS, "bool_masked_pos": MASK} | change
    for call in (mim, jax.jit(mim)):
        with pytest.raises(ConfigError, match=message):
            call(**arguments)


def test_a_stage_that_is_gone_is_refused():
    config = preset("tiny", **TINY_MODEL | {"num_hidden_layers": 4, "out_indices": [1, 4]})
    config.num_hidden_layers = 3
    with pytest.raises(ConfigError, match=r"out_features holds \['stage4'\], and num_hidden_layers is 3; expected"):
        FlaxBeitBackbone(config)


@pytest.mark.parametrize("name", ["Backbone", "ForMaskedImageModeling", "ForSemanticSegmentation"])
def test_no_pictures_at_all(name):
    config = preset(
        "tiny", **TINY_MODEL | {"num_hidden_layers": 4, "out_indices": [1, 2, 3, 4], "use_mask_token": True}
    )
    model = getattr(beit, f"FlaxBeit{name}")(config)
    mask = {"bool_masked_pos": np.zeros((0, 4, 4), bool)} if name == "ForMaskedImageModeling" else {}
    output = model(np.zeros((0, 3, 32, 32), np.float32), **mask)
    assert {len(part) for part in output.to_tuple() if not isinstance(part, tuple)} <= {0}


def test_training_wants_random_numbers_where_something_is_drawn(mim, classifier):
    assert mim.config.drop_path_rate == 0
    assert mim(PIXELS, MASK, train=True).logits.shape == (2, 16, 64)
    with pytest.raises(ConfigError, match=r"'drop_path_rate': 0.1.*dropout_rng=jax.random.PRNGKey\(0\)"):
        classifier(PIXELS, train=True)


def test_parameters_of_another_config(mim, classifier):
    with pytest.raises(CheckpointError, match=r"params does not fit the model, 5 missing: beit.embeddings.mask_token"):
        mim(PIXELS, params=classifier.params)
    wider = jax.tree.map(lambda leaf: jnp.concatenate((leaf, leaf), -1), mim.params)
    for use in (lambda: jax.jit(mim)(PIXELS, params=wider), lambda: setattr(mim, "params", wider)):
        with pytest.raises(CheckpointError, match="of another shape"):
            use()


@pytest.mark.parametrize("dtype", ["float33", "int32", jnp.int8, "half a float"])
def test_a_type_that_is_none(dtype):
    with pytest.raises(ConfigError, match=r"dtype is .*; expected one of .*bfloat16"):
        FlaxBeitModel(TINY, dtype=dtype)


@pytest.mark.parametrize(
    ("shape", "message"),
    [((1, 3, 32, 32), r"expected \(batch, height, width, 3\)"), ((1, 33, 32, 3), "not a multiple of patch size 8")],
)
def test_a_bad_input_shape(shape, message):
    with pytest.raises(ConfigError, match=message):
        FlaxBeitModel(TINY, input_shape=shape)


def test_a_type_to_compute_in_is_not_that_of_the_parameters(mim):
    model = FlaxBeitForMaskedImageModeling(TINY, dtype="bfloat16")
    assert {leaf.dtype.name for leaf in jax.tree.leaves(model.params)} == {"float32"}
    output = model(PIXELS, MASK, output_attentions=True)
    assert output.logits.dtype == output.attentions[0].dtype == jnp.bfloat16
    assert model.dtype == jnp.bfloat16
    precise = mim(PIXELS, MASK).logits
    np.testing.assert_allclose(output.logits.astype(np.float32), precise, atol=0.02 * float(abs(precise).max()))


def test_casts(mim):
    half = mim.to_bf16(mim.params)
    assert {leaf.dtype.name for leaf in jax.tree.leaves(half)} == {"bfloat16"}
    assert {leaf.dtype.name for leaf in jax.tree.leaves(mim.to_fp16(mim.params))} == {"float16"}
    assert {leaf.dtype.name for leaf in jax.tree.leaves(mim.to_fp32(half))} == {"float32"}
    only_kernels = jax.tree_util.tree_map_with_path(lambda path, _: path[-1].key == "kernel", mim.params)
    some = joined(mim.to_bf16(mim.params, only_kernels))
    assert all((leaf.dtype == jnp.bfloat16) == name.endswith("kernel") for name, leaf in some.items())
    with pytest.raises(ConfigError, match="expected a bool for every parameter"):
        mim.to_bf16(mim.params, {"beit": True})


def test_without_parameters_of_its_own(mim):
    model = FlaxBeitForMaskedImageModeling(TINY, _do_init=False)
    for use in (lambda: model.params, lambda: model(PIXELS), lambda: setattr(model, "params", mim.params)):
        with pytest.raises(ConfigError, match="_do_init=False and holds no params"):
            use()
    params = model.init_weights(jax.random.PRNGKey(0), (1, 32, 32, 3))
    assert jax.tree.all(jax.tree.map(np.array_equal, params, mim.params)), "the same seed"
    np.testing.assert_array_equal(model(PIXELS, params=params).logits, mim(PIXELS).logits)


def test_seed_and_input_shape(mim):
    other = FlaxBeitForMaskedImageModeling(TINY, input_shape=(2, 64, 48, 3), seed=1)
    assert joined(other.params).keys() == joined(mim.params).keys()
    assert not np.array_equal(other.params["lm_head"]["kernel"], mim.params["lm_head"]["kernel"])


def test_what_is_missing_is_filled_and_nothing_else(mim):
    given = {"lm_head": {"kernel": np.ones((32, 64), np.float32)}}
    params = mim.init_weights(KEY, None, given)
    assert params["lm_head"]["kernel"] is given["lm_head"]["kernel"]
    assert joined(params).keys() == joined(mim.params).keys()
    with pytest.raises(CheckpointError, match=r"1 unknown: lm_head\.kernels"):
        mim.init_weights(KEY, None, {"lm_head": {"kernels": np.ones(3)}})


def test_one_trace_for_equal_shapes(monkeypatch):
    """By the model's own compiled call, and by a `jit` around it."""
    traces = []
    plain = embeddings.Embeddings._positions_for
    monkeypatch.setattr(embeddings.Embeddings, "_positions_for", lambda *args: traces.append(args[-1]) or plain(*args))
    model = FlaxBeitModel(preset("tiny", **TINY_MODEL, use_absolute_position_embeddings=True))
    traces.clear()
    outer = jax.jit(lambda params, pixels: model(pixels, params=params).pooler_output)
    for times, call in ((3, model), (3, lambda pixels: outer(model.params, pixels))):
        for number in range(times):
            call(PIXELS + number)
    model.params = jax.tree.map(lambda leaf: leaf + 1, model.params)
    model(PIXELS)
    assert len(traces) == 1, "new values and parameters, equal shapes"
    model(PIXELS[:, :, :24])
    assert traces == [(4, 4), (3, 4)]


def test_the_size_of_a_model():
    model = FlaxBeitForMaskedImageModeling(preset("base"), _do_init=False)
    assert model.num_parameters() == 91_965_776
