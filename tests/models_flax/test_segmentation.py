"""Batch norms and their statistics, labels, and configs that are refused."""

import jax
import numpy as np
import optax
import pytest
import torch

from beit import BeitForSemanticSegmentation, FlaxBeitForSemanticSegmentation
from beit.errors import ConfigError
from beit.models_flax.labels import check_labels, mean_cross_entropy
from beit.models_flax.tree import joined
from beit.models_flax.upernet import pooled, resized
from beit.weights import FLAX
from tests.conftest import GOLDEN

pytestmark = pytest.mark.e2e

SEGMENT = GOLDEN / "hf_v4/segment"
RECORDED = dict(np.load(SEGMENT / "io.npz"))
PIXELS, LABELS = RECORDED["pixel_values"], RECORDED["labels"]


@pytest.fixture(scope="module")
def model():
    return FlaxBeitForSemanticSegmentation.from_pretrained(SEGMENT, scan_layers=True)


@pytest.fixture(scope="module")
def trained(model):
    """One step of training: (output, gradients by name)."""

    def loss(params):
        output = model(PIXELS, LABELS, params=params, train=True, dropout_rng=jax.random.PRNGKey(0))
        return output.loss, output

    (_, output), gradients = jax.jit(jax.value_and_grad(loss, has_aux=True))(model.params)
    return output, gradients


def test_training_is_that_of_torch(model, trained):
    """Loss, scores, gradients, and the statistics of every batch norm afterwards."""
    output, gradients = trained
    np.testing.assert_allclose(output.loss, RECORDED["train.loss"], atol=2e-4)
    np.testing.assert_allclose(output.logits, RECORDED["train.logits"], atol=2e-4, rtol=1e-3)
    theirs = BeitForSemanticSegmentation.from_pretrained(SEGMENT).train()
    theirs(torch.from_numpy(PIXELS), labels=torch.from_numpy(LABELS)).loss.backward()
    after = joined(model.with_batch_stats(model.params, output.batch_stats))
    canonical = FLAX.to_canonical({name: np.asarray(leaf) for name, leaf in after.items()})
    buffers = dict(theirs.named_buffers())
    assert len(buffers) > 30
    for name, buffer in buffers.items():
        np.testing.assert_allclose(canonical[name], buffer.numpy(), atol=2e-4, rtol=1e-3, err_msg=name)
    converted = FLAX.to_canonical({name: np.asarray(leaf) for name, leaf in joined(gradients).items()})
    for name in ("decode_head.bottleneck.bn.weight", "auxiliary_head.classifier.weight", "fpn1.1.bias"):
        reference = theirs.get_parameter(name).grad.numpy()
        np.testing.assert_allclose(converted[name], reference, atol=2e-4 * max(1, abs(reference).max()), err_msg=name)


def test_options_of_the_loss_are_read_in_every_call(model):
    """As in PyTorch, where nothing is compiled."""
    theirs = BeitForSemanticSegmentation.from_pretrained(SEGMENT)
    kept = model.config.auxiliary_loss_weight, model.config.semantic_loss_ignore_index
    losses, labels = list[float](), np.where(kept[1] == LABELS, 0, LABELS)
    for weight, ignored in (kept, (5.0, kept[1]), (5.0, 2)):
        for one in (model, theirs):
            one.config.auxiliary_loss_weight, one.config.semantic_loss_ignore_index = weight, ignored
        loss = theirs(torch.from_numpy(PIXELS), labels=torch.from_numpy(labels)).loss.item()
        losses.append(float(model(PIXELS, labels).loss))
        assert losses[-1] == pytest.approx(loss, abs=1e-3)
    model.config.auxiliary_loss_weight, model.config.semantic_loss_ignore_index = kept
    assert len({round(loss, 3) for loss in losses}) == 3


def test_statistics_are_not_learned(model, trained):
    _, gradients = trained
    learned = joined(model.learned(model.params))
    frozen = [name for name, value in learned.items() if not value]
    assert frozen
    assert all(name.endswith(("mean", "var", "num_batches_tracked")) for name in frozen)
    assert not any(np.any(joined(gradients)[name]) for name in frozen)
    optimiser = optax.masked(optax.adamw(1e-2, weight_decay=0.5), model.learned(model.params))
    updates, _ = jax.jit(optimiser.update)(gradients, optimiser.init(model.params), model.params)
    after = joined(optax.apply_updates(model.params, updates))
    before = joined(model.params)
    assert all(np.array_equal(after[name], before[name]) for name in frozen)
    assert not np.array_equal(after["decode_head.classifier.kernel"], before["decode_head.classifier.kernel"])


def test_evaluation_has_no_new_statistics(model):
    output = model(PIXELS)
    assert list(output) == ["logits"]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (LABELS[0], r"labels have shape \(32, 32\); expected \(2, 32, 32\)"),
        (LABELS[:, None], r"labels have shape \(2, 1, 32, 32\); expected \(2, 32, 32\)"),
        (LABELS[:1], r"labels have shape \(1, 32, 32\); expected \(2, 32, 32\)"),
        (LABELS.astype(np.float32), "dtype float32; expected whole numbers from 0 to 6"),
        (np.full_like(LABELS, 7), "labels run from 7 to 7; expected whole numbers from 0 to 6, or 255 to ignore one"),
    ],
)
def test_bad_labels(model, labels, message):
    with pytest.raises(ConfigError, match=message):
        model(PIXELS, labels)


def test_labels_that_are_all_ignored():
    logits = np.random.default_rng(0).normal(size=(2, 3)).astype(np.float32)
    assert mean_cross_entropy(logits, np.full(2, 255), ignored=255) == 0
    check_labels(np.full(2, 255), (2,), classes=3, ignored=255)


@pytest.mark.parametrize("scale", [1, 2, 3, 6])
@pytest.mark.parametrize("size", [(4, 4), (5, 7), (2, 9)])
def test_pooling_and_resizing_are_those_of_torch(scale, size):
    map_ByxC = np.random.default_rng(0).normal(size=(1, *size, 3)).astype(np.float32)
    torch_map = torch.from_numpy(map_ByxC).permute(0, 3, 1, 2)
    reference = torch.nn.functional.adaptive_avg_pool2d(torch_map, scale)
    np.testing.assert_allclose(pooled(map_ByxC, scale).transpose(0, 3, 1, 2), reference, atol=1e-6)
    for target in ((scale, 2 * scale), (8, 16)):
        reference = torch.nn.functional.interpolate(torch_map, target, mode="bilinear", align_corners=False)
        np.testing.assert_allclose(resized(map_ByxC, target).transpose(0, 3, 1, 2), reference, atol=1e-6)
