"""What users of the published Flax classes do; they are gone from transformers 5, so that ours stand alone."""

from importlib import import_module

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.core import FrozenDict, freeze
from flax.traverse_util import flatten_dict

import beit
from tests.habits.pairs import OPTIONS, made, pixels


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_a_saved_type_comes_back(tmp_path, dtype):
    model = beit.FlaxBeitForImageClassification(made(beit).config)
    model.params = jax.tree.map(lambda leaf: leaf.astype(dtype), model.params)
    model.save_pretrained(tmp_path)
    loaded = beit.FlaxBeitForImageClassification.from_pretrained(tmp_path)
    assert {leaf.dtype.name for leaf in jax.tree.leaves(loaded.params)} == {dtype}
    assert all(map(np.array_equal, jax.tree.leaves(loaded.params), jax.tree.leaves(model.params)))


def test_required_params_and_the_module():
    model = beit.FlaxBeitModel(made(beit).config)
    assert model.required_params == set(flatten_dict(model.params))
    assert isinstance(model.module, beit.FlaxBeitModule)
    assert (model.framework, model.can_generate()) == ("flax", False)


@pytest.mark.parametrize("name", ["FlaxBeitModel", "FlaxBeitForImageClassification", "FlaxBeitForMaskedImageModeling"])
def test_the_tree_of_shapes_and_the_names_of_modules(name):
    model = getattr(beit, name)(made(beit).config, _do_init=False)
    drawn = flatten_dict(model.init_weights(model.key, model.input_shape))
    assert {key: leaf.shape for key, leaf in flatten_dict(model.params_shape_tree).items()} == {
        key: leaf.shape for key, leaf in drawn.items()
    }
    module = f"{name.removesuffix('Model')}Module"
    assert isinstance(model.module, getattr(import_module(type(model).__module__), module))


def test_frozen_parameters():
    model = beit.FlaxBeitForImageClassification(made(beit).config)
    frozen, x = freeze(model.params), pixels().numpy()
    assert isinstance(frozen, FrozenDict)
    expected = model(x).logits
    np.testing.assert_array_equal(model(x, params=frozen).logits, expected)
    assert {leaf.dtype.name for leaf in jax.tree.leaves(model.to_bf16(frozen))} == {"bfloat16"}
    model.params = frozen
    np.testing.assert_array_equal(model(x).logits, expected)


@pytest.mark.parametrize("name", OPTIONS)
def test_weights_of_pytorch_for_every_head(tmp_path, name):
    made(beit, name).save_pretrained(tmp_path)
    model = getattr(beit, f"Flax{name}").from_pretrained(tmp_path, from_pt=True)
    assert model.load_report.silent


@pytest.mark.parametrize("name", ["FlaxBeitModel", "FlaxBeitForImageClassification", "FlaxBeitForMaskedImageModeling"])
def test_modules_take_the_published_arguments(name):
    """By place too: the third was `train` here, the contrary of theirs, and unnoticed in models without dropout."""
    config = made(beit, use_mask_token=True, hidden_dropout_prob=0.5, num_hidden_layers=1).config
    model = getattr(beit, name)(config)
    rng = np.random.default_rng(0)
    model.params = jax.tree.map(lambda leaf: leaf + rng.normal(scale=0.1, size=leaf.shape).astype("f"), model.params)
    pictures, mask = rng.normal(size=(2, 3, 32, 32)).astype("f"), rng.random((2, 16)) < 0.5
    channels_last, variables = jnp.asarray(pictures.transpose(0, 2, 3, 1)), {"params": model.params}
    expected = model(pictures, bool_masked_pos=mask)[0]
    for arguments in ((channels_last, mask), (channels_last, mask, True, False, True)):
        np.testing.assert_allclose(model.module.apply(variables, *arguments)[0], expected, atol=1e-5)
    named = {"pixel_values": channels_last, "bool_masked_pos": mask, "output_hidden_states": True}
    found = model.module.apply(variables, **named, return_dict=False)
    assert type(found) is tuple
    np.testing.assert_allclose(found[0], expected, atol=1e-5)
    rngs = {"dropout": jax.random.PRNGKey(0)}
    dropped = model.module.apply(variables, channels_last, mask, deterministic=False, rngs=rngs)[0]
    in_training = model(pictures, bool_masked_pos=mask, train=True, dropout_rng=rngs["dropout"])[0]
    np.testing.assert_allclose(dropped, in_training, atol=1e-5)
    assert not np.allclose(dropped, expected, atol=1e-3)
