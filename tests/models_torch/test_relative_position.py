"""The bias that evaluation keeps: right after every change, never in the way of training, never saved."""

import copy
import io
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch.nn import functional

from beit import BeitConfig, BeitForImageClassification, BeitModel
from beit.models_torch import attention
from beit.models_torch.attention import RelativePositionBias
from tests.conftest import GOLDEN, TINY_MODEL


@pytest.fixture
def model():
    return BeitForImageClassification.from_pretrained(GOLDEN / "hf_v4/classify_single")


@pytest.fixture
def look_ups(monkeypatch):
    """Counts how often a bias is looked up."""
    count = []
    original = RelativePositionBias._look_up
    monkeypatch.setattr(RelativePositionBias, "_look_up", lambda self, at: count.append(1) or original(self, at))
    return count


def biases(model):
    return [module for module in model.modules() if isinstance(module, RelativePositionBias)]


def logits(model, size=(32, 32), seed=0):
    with torch.no_grad():
        return model(torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(seed))).logits


def kept(model):
    return [bias._cached is not None and bias._cached.bias_1HSS is not None for bias in biases(model)]


@pytest.fixture
def asked(model):
    """A model that was asked twice, and keeps its biases."""
    logits(model)
    logits(model)
    assert all(kept(model))
    return model


def test_it_is_looked_up_twice_per_weights_and_grid(model, look_ups):
    first = logits(model)
    assert len(look_ups) == 2, "one per layer"
    assert not any(kept(model)), "who asks once holds none"
    assert torch.equal(logits(model), first)
    assert len(look_ups) == 4
    assert all(kept(model))
    assert torch.equal(logits(model), first)
    assert len(look_ups) == 4
    logits(model, (48, 32))
    assert len(look_ups) == 6
    assert torch.equal(logits(model), first)


@pytest.mark.parametrize(
    "change",
    [
        lambda model: model.load_state_dict({k: v * 2 if "table" in k else v for k, v in model.state_dict().items()}),
        lambda model: [bias.relative_position_bias_table.data.mul_(2) for bias in biases(model)],
        lambda model: [torch.nn.init.normal_(bias.relative_position_bias_table) for bias in biases(model)],
        lambda model: [
            setattr(bias, "relative_position_bias_table", torch.nn.Parameter(bias.relative_position_bias_table * 2))
            for bias in biases(model)
        ],
    ],
    ids=["load_state_dict", "data", "in place", "replaced"],
)
def test_changed_weights_are_noticed(asked, change):
    model, before = asked, logits(asked)
    change(model)
    after = logits(model)
    assert torch.equal(after, logits(copy.deepcopy(model))), "the kept bias is that of the new weights"
    assert not torch.equal(before, after)


@pytest.mark.parametrize("change", [lambda m: m.train().eval(), lambda m: m.double().float(), lambda m: m.to("cpu")])
def test_it_is_dropped(asked, change):
    change(asked)
    assert all(bias._cached is None for bias in biases(asked))


def test_training_never_uses_it(asked):
    model = asked.train()
    for _ in range(2):
        model(torch.randn(2, 3, 32, 32)).logits.sum().backward()
    assert all(bias.relative_position_bias_table.grad is not None for bias in biases(model))
    assert all(bias._cached is None for bias in biases(model))


def test_gradients_in_evaluation_mode_are_those_of_the_table(asked):
    model = asked  # it keeps biases, which must not be used below
    model(torch.randn(2, 3, 32, 32)).logits.sum().backward()
    assert all(bias.relative_position_bias_table.grad.abs().sum() > 0 for bias in biases(model))


def test_inference_mode_poisons_nothing(model):
    """A forward pass in inference mode, at the own and at another size, and then training."""
    with torch.inference_mode():
        model(torch.randn(2, 3, 32, 32))
        for _ in range(2):
            model(torch.randn(2, 3, 48, 32))
    assert all(kept(model))
    pixels = torch.randn(2, 3, 48, 32, requires_grad=True)
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    model(pixels).logits.sum().backward()  # the kept bias takes part in a backward pass
    assert pixels.grad.abs().sum() > 0
    for parameter in model.parameters():
        parameter.requires_grad_(True)
    model.train()(torch.randn(2, 3, 32, 32)).logits.sum().backward()
    assert all(bias.relative_position_bias_table.grad is not None for bias in biases(model))


def test_it_is_never_saved(asked):
    model = asked
    assert not [name for name in model.state_dict() if "cached" in name]
    small, large = io.BytesIO(), io.BytesIO()
    torch.save(copy.deepcopy(model), large)
    [bias.drop_cache() for bias in biases(model)]
    torch.save(model, small)
    assert abs(len(small.getvalue()) - len(large.getvalue())) < 512
    assert all(bias._cached is None for bias in biases(copy.deepcopy(model)))


def test_large_ones_are_not_kept(model, monkeypatch):
    expected = logits(model, (48, 48))
    [bias.drop_cache() for bias in biases(model)]
    monkeypatch.setattr(attention, "CACHE_BYTES", 1000)
    assert torch.equal(logits(model, (48, 48)), expected)
    assert all(bias._cached is None for bias in biases(model))


def test_threads_do_not_get_one_another_s_bias(model):
    """Pictures of the same number of tokens but another shape, at once: each gets the bias of its own grid."""
    sizes = [(32, 64), (64, 32), (16, 128), (128, 16)]
    expected = {size: logits(model, size) for size in sizes}
    wrong, before = [], sys.getswitchinterval()
    sys.setswitchinterval(1e-6)

    def work(size):
        wrong.extend(size for _ in range(60) if not torch.allclose(logits(model, size), expected[size], atol=1e-5))

    try:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(work, sizes))
    finally:
        sys.setswitchinterval(before)
    assert not wrong


def test_tracing_keeps_nothing(model):
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    traced = torch.jit.trace(lambda pixels: model(pixels).logits, torch.randn(1, 3, 32, 32))
    pixels = torch.randn(1, 3, 32, 32)
    torch.testing.assert_close(traced(pixels), model(pixels).logits)


def test_a_model_made_without_memory_and_filled_later(model):
    with torch.device("meta"):
        empty = BeitForImageClassification(model.config)
    empty.to_empty(device="cpu").load_state_dict(model.state_dict())
    assert torch.equal(logits(empty.eval()), logits(model))


@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize("side", [32, 48])
@pytest.mark.parametrize("kind", ["use_relative_position_bias", "use_shared_relative_position_bias"])
def test_fused_kernels_get_what_they_take_on_a_gpu(kind, side, mode, monkeypatch):
    """They want the last axis side by side in memory, of the bias too; else scores and maps of a layer are kept."""
    asked, fused = [], functional.scaled_dot_product_attention

    def watched(*parts, attn_mask, dropout_p):
        asked.extend(part.stride(-1) for part in (*parts, attn_mask))
        return fused(*parts, attn_mask=attn_mask, dropout_p=dropout_p)

    monkeypatch.setattr(functional, "scaled_dot_product_attention", watched)
    model = BeitModel(BeitConfig(**TINY_MODEL, **{kind: True})).to("meta").train(mode == "train")
    model(torch.empty(2, 3, side, side, device="meta"), interpolate_pos_encoding=True)
    assert asked == [1] * 4 * TINY_MODEL["num_hidden_layers"]
    asked.clear()
    layer, tokens = model.encoder.layer[0].attention, model.encoder.grid.patches + 1
    of_caller = torch.empty(tokens, tokens, TINY_MODEL["num_attention_heads"], device="meta").permute(2, 0, 1)
    layer(torch.empty(2, tokens, TINY_MODEL["hidden_size"], device="meta"), relative_position_bias=of_caller)
    assert asked == [1] * 4
