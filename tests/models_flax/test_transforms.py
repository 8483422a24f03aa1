"""jit, grad, vmap, scan over layers, gradient checkpointing, dropout, and four devices."""

import os
import subprocess
import sys

import jax
import numpy as np
import pytest

from beit import FlaxBeitForImageClassification, FlaxBeitModel, preset
from beit.models_flax.labels import mean_cross_entropy
from beit.models_flax.tree import joined
from tests.conftest import TINY_MODEL

pytestmark = pytest.mark.e2e

BOTH = {"use_relative_position_bias": True, "use_shared_relative_position_bias": True}
CONFIG = preset(
    "tiny", **TINY_MODEL | {"num_hidden_layers": 3}, **BOTH, num_labels=5, drop_path_rate=0.5, use_mask_token=False
)
PIXELS = np.random.default_rng(0).normal(size=(4, 3, 32, 32)).astype(np.float32)
LABELS = np.array([0, 4, 2, 1])


@pytest.fixture(scope="module")
def model():
    plain = FlaxBeitForImageClassification(CONFIG)
    draw = np.random.default_rng(2)
    plain.params = jax.tree.map(lambda leaf: leaf + 0.1 * draw.normal(size=leaf.shape).astype(np.float32), plain.params)
    return plain


def gradients(model, params, **options):
    def loss(params):
        return mean_cross_entropy(model(PIXELS, params=params, **options).logits, LABELS)

    value, grads = jax.jit(jax.value_and_grad(loss))(params)
    return {"loss": value, **joined(grads)}


@pytest.fixture(scope="module")
def reference(model):
    return gradients(model, model.params)


def assert_same(ours, reference):
    assert ours.keys() == reference.keys()
    for name, value in reference.items():
        np.testing.assert_allclose(ours[name], value, atol=2e-5 * max(1, float(abs(value).max())), err_msg=name)


def test_every_parameter_has_a_gradient(reference):
    assert all(np.any(value) for value in reference.values())


def variant(model, scan, checkpointing):
    other = FlaxBeitForImageClassification(CONFIG, _do_init=False, scan_layers=scan)
    if checkpointing:
        other.enable_gradient_checkpointing()
    return other


@pytest.mark.parametrize(("scan", "checkpointing"), [(True, False), (False, True), (True, True)])
def test_scan_over_layers_and_gradient_checkpointing(model, reference, scan, checkpointing):
    """The same parameters, the same numbers."""
    assert_same(gradients(variant(model, scan, checkpointing), model.params), reference)


def test_what_a_scan_returns(model):
    wanted = {"output_hidden_states": True, "output_attentions": True}
    ours, plain = variant(model, True, False)(PIXELS, params=model.params, **wanted), model(PIXELS, **wanted)
    assert [len(part) for part in ours[1:]] == [4, 3]
    for one, other in zip(jax.tree.leaves(ours), jax.tree.leaves(plain), strict=True):
        np.testing.assert_allclose(one, other, atol=2e-5)


def test_gradient_checkpointing_computes_again(model):
    """A step needs less memory, by what the compiled program asks for, and the switch can be turned back."""

    def scratch(other):
        gradient = jax.grad(lambda params: other(PIXELS, params=params).logits.sum())
        return jax.jit(gradient).lower(model.params).compile().memory_analysis().temp_size_in_bytes

    plain, other = scratch(variant(model, False, False)), variant(model, False, True)
    assert scratch(other) < 0.8 * plain
    other.disable_gradient_checkpointing()
    assert scratch(other) == plain


def test_vmap(model):
    """One picture at a time, and several sets of parameters at once."""
    whole = model(PIXELS).logits
    single = jax.vmap(lambda pixels: model(pixels[None]).logits[0])(PIXELS)
    np.testing.assert_allclose(single, whole, atol=2e-5)
    two = jax.tree.map(lambda leaf: np.stack((leaf, 2 * leaf)), model.params)
    ensemble = jax.vmap(lambda params: model(PIXELS, params=params).logits)(two)
    np.testing.assert_allclose(ensemble[0], whole, atol=2e-5)
    assert not np.allclose(ensemble[1], whole, atol=1e-2)


@pytest.mark.parametrize("scan", [False, True])
def test_drop_path_is_drawn_from_the_key(model, scan):
    other = variant(model, scan, False)
    one, again, another = (
        other(PIXELS, params=model.params, dropout_rng=jax.random.PRNGKey(seed), train=True).logits
        for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(one, again)
    assert not np.allclose(one, another)
    assert not np.allclose(one, model(PIXELS).logits)


def test_drop_path_drops_whole_samples_and_keeps_the_mean():
    """With everything dropped in the last layer, the layer does nothing; at lower rates it does so for some samples."""
    model = FlaxBeitModel(preset("tiny", **TINY_MODEL, drop_path_rate=1.0))
    pixels = np.repeat(PIXELS, 8, axis=0)
    output = model(pixels, dropout_rng=jax.random.PRNGKey(0), train=True, output_hidden_states=True)
    np.testing.assert_array_equal(output.hidden_states[2], output.hidden_states[1])
    half = FlaxBeitModel(preset("tiny", **TINY_MODEL, drop_path_rate=0.5), _do_init=False)
    call = {"params": model.params, "output_hidden_states": True}
    drawn = half(pixels, dropout_rng=jax.random.PRNGKey(0), train=True, **call).hidden_states
    calm = half(pixels, **call).hidden_states
    added, full = (np.asarray(states[2] - states[1]) for states in (drawn, calm))
    dropped = abs(added).max((1, 2)) == 0
    assert 0 < dropped.sum() < len(pixels)
    assert abs(added[~dropped]).mean() > abs(full[~dropped]).mean(), "what is kept is scaled up"


@pytest.mark.parametrize("name", ["hidden_dropout_prob", "attention_probs_dropout_prob"])
def test_dropout(name):
    model = FlaxBeitModel(preset("tiny", **TINY_MODEL, drop_path_rate=0.0, **{name: 0.5}))
    params = jax.tree.map(lambda leaf: leaf + 0.1, model.params)
    wanted = {"params": params, "output_attentions": True}
    calm = model(PIXELS, **wanted)
    drawn = model(PIXELS, dropout_rng=jax.random.PRNGKey(0), train=True, **wanted)
    assert not np.allclose(calm.pooler_output, drawn.pooler_output)
    zeros = float((drawn.attentions[0] == 0).mean())
    assert zeros == pytest.approx(0.5 if name.startswith("attention") else 0.0, abs=0.05)


FOUR_DEVICES = """
import jax, numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from beit import FlaxBeitForImageClassification, preset
from beit.models_flax.labels import mean_cross_entropy

assert jax.device_count() == 4
model = FlaxBeitForImageClassification(preset("tiny", num_labels=5, drop_path_rate=0.0, **OPTIONS))
pixels = np.random.default_rng(0).normal(size=(8, 3, 32, 32)).astype(np.float32)
labels = np.arange(8) % 5

def loss(params, pixels, labels):
    return mean_cross_entropy(model(pixels, params=params).logits, labels)

step = jax.jit(jax.value_and_grad(loss))
value, grads = step(model.params, pixels, labels)

shared = jax.tree.map(lambda leaf: np.stack([leaf] * 4), model.params)
values, each = jax.pmap(jax.value_and_grad(loss))(shared, pixels.reshape(4, 2, 3, 32, 32), labels.reshape(4, 2))
np.testing.assert_allclose(values.mean(), value, atol=2e-5)
for one, other in zip(jax.tree.leaves(each), jax.tree.leaves(grads)):
    np.testing.assert_allclose(one.mean(0), other, atol=2e-5)

mesh = Mesh(np.array(jax.devices()), ("batch",))
split, whole = NamedSharding(mesh, PartitionSpec("batch")), NamedSharding(mesh, PartitionSpec())
params = jax.device_put(model.params, whole)
value2, grads2 = step(params, jax.device_put(pixels, split), jax.device_put(labels, split))
np.testing.assert_allclose(value2, value, atol=2e-5)
for one, other in zip(jax.tree.leaves(grads2), jax.tree.leaves(grads)):
    np.testing.assert_allclose(one, other, atol=2e-5)
logits = jax.jit(lambda params, pixels: model(pixels, params=params).logits)(params, jax.device_put(pixels, split))
assert len(logits.sharding.device_set) == 4
print("equal")
"""


def test_four_devices():
    """`pmap`, and `jit` with the batch divided over a mesh."""
    flags = f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count=4"
    code = FOUR_DEVICES.replace("OPTIONS", repr(TINY_MODEL))
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, "XLA_FLAGS": flags}
    )
    assert done.stdout == "equal\n", done.stderr[-3000:]
