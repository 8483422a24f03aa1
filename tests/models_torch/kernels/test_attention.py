"""The three ways of attention: the same numbers and gradients, and the memory that each is there for."""

import pytest
import torch

from beit.geometry import Grid
from beit.models_torch.attention import Positions, SelfAttention, position_index
from beit.models_torch.kernels import attention, pair_bias
from beit.models_torch.kernels.attention import kept_attention, recomputed_attention
from beit.models_torch.kernels.fastest import FastestWays

SHAPES = (*[(3, 7, 8)] * 3, (1, 2, 7, 7))  # pictures, tokens, width of both heads; the bias


def plain(query, key, value, bias):
    query, key, value = (part.unflatten(2, (2, 4)).transpose(1, 2) for part in (query, key, value))
    scores = query @ key.transpose(-1, -2) * 4**-0.5 + bias
    return (scores.softmax(-1) @ value).transpose(1, 2).flatten(2)


def drawn(dtype=torch.float32):
    rng = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=rng, dtype=dtype).requires_grad_() for shape in SHAPES]


WAYS = pytest.mark.parametrize("way", [recomputed_attention, kept_attention])


def assert_like_plain(way):
    inputs = drawn()
    expected, result = plain(*inputs), way(*inputs, 2)
    torch.testing.assert_close(result, expected, rtol=1e-4, atol=1e-4)
    grad = torch.randn(expected.shape, generator=torch.Generator().manual_seed(1))
    ours, theirs = (torch.autograd.grad(output, inputs, grad) for output in (result, expected))
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3)


@WAYS
def test_values_and_gradients_are_the_plain_ones(way):
    assert_like_plain(way)


@WAYS
@pytest.mark.parametrize("pictures_at_once", [1, 2, 3])
def test_how_many_pictures_at_a_time_does_not_matter(monkeypatch, pictures_at_once, way):
    module = __import__("beit.models_torch.kernels.attention", fromlist=["_SCORES_AT_ONCE"])
    monkeypatch.setattr(module, "_SCORES_AT_ONCE", pictures_at_once * 7 * 7)
    assert_like_plain(way)


@WAYS
@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.e2e
def test_gradients_by_differences(way, biased):
    """Double precision, so that differences are exact enough; the gradients of the gradients too."""
    inputs = (*drawn(torch.float64)[: 4 if biased else 3], *(() if biased else (None,)), 2)
    assert torch.autograd.gradcheck(way, inputs)
    assert torch.autograd.gradgradcheck(way, inputs)


@pytest.mark.parametrize("bias", ["learned", "constant", "none"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_ways_of_a_training_step_are_timed_where_their_maps_are_small(monkeypatch, tmp_path, dtype, bias):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    module = __import__("beit.models_torch.kernels.attention", fromlist=["FASTEST"])
    timed = FastestWays("auto")
    monkeypatch.setattr(module, "FASTEST", timed)
    monkeypatch.setattr(module, "_FEW_SCORES", 0)
    for tokens, ways in ((7, {"torch", "recomputed", "kept"}), (9, {"torch", "recomputed"})):
        query, key, value = (torch.randn(2, tokens, 8, dtype=dtype, requires_grad=True) for _ in range(3))
        table = None if bias == "none" else torch.randn(1, 2, tokens, tokens, requires_grad=bias == "learned")
        result, _ = attention(query, key, value, 2, table)
        assert all(torch.isfinite(grad).all() for grad in torch.autograd.grad(result.sum(), (query, key, value)))
        found = [set(seconds) for name, seconds in timed.timed().items() if f" {tokens} x " in name]
        assert found == ([] if (bias, tokens) == ("learned", 9) else [ways])


def test_few_maps_may_be_kept_whatever_the_width(monkeypatch, tmp_path):
    module = __import__("beit.models_torch.kernels.attention", fromlist=["FASTEST"])
    for pictures, ways in ((64, [{"torch", "recomputed", "kept"}]), (65, [])):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / str(pictures)))
        timed = FastestWays("auto")
        monkeypatch.setattr(module, "FASTEST", timed)
        parts = [torch.randn(pictures, 32, 8, requires_grad=True) for _ in range(3)]  # 1,024 scores a head
        attention(*parts, 4, torch.zeros(1, 4, 32, 32, requires_grad=True))
        assert [set(seconds) for seconds in timed.timed().values()] == ways


def test_all_ways_are_the_same():
    query, key, value = (torch.randn(2, 7, 8) for _ in range(3))
    bias = torch.randn(1, 2, 7, 7)
    fused, nothing = attention(query, key, value, 2, bias)
    explicit, maps = attention(query, key, value, 2, bias, output_attentions=True)
    recomputed, _ = attention(query, key, value, 2, bias.clone().requires_grad_())
    one_head, _ = attention(query, key, value, 2, bias, head_mask_H=torch.tensor([1.0, 0.0]))
    assert nothing is None
    torch.testing.assert_close(explicit, fused, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(recomputed, fused, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(one_head, torch.cat((fused[..., :4], torch.zeros(2, 7, 4)), dim=-1))
    torch.testing.assert_close(maps.sum(-1), torch.ones(2, 2, 7))


def test_the_forward_pass_is_the_fused_kernel():
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        recomputed_attention(*drawn(), 2)
    assert "aten::_scaled_dot_product_flash_attention_for_cpu" in {event.name for event in profile.events()}


def test_scores_are_not_kept():
    grid = Grid(6, 6)
    layer = SelfAttention(32, 4, grid)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor.numel()) or tensor, lambda x: x):
        layer(torch.randn(5, 37, 32), positions=Positions(grid, position_index(grid)))
    assert max(kept) < 5 * 4 * 37 * 37


def test_a_training_in_bf16_keeps_no_scores_either():
    """Under autocast queries, keys and values come in bf16; the gradients are those of float32, to its precision."""
    grid = Grid(6, 6)
    torch.manual_seed(0)
    layer, tokens, kept = SelfAttention(32, 4, grid), torch.randn(5, 37, 32), []
    torch.nn.init.normal_(layer.relative_position_bias.relative_position_bias_table)

    def gradients(half):
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            context, _ = layer(tokens, positions=Positions(grid, position_index(grid)))
        grad = torch.randn(context.shape, generator=torch.Generator().manual_seed(1))
        return torch.autograd.grad(context.float(), tuple(layer.parameters()), grad)

    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor.numel()) or tensor, lambda x: x):
        ours = gradients(half=True)
    assert max(kept) < 5 * 4 * 37 * 37
    for one, other in zip(ours, gradients(half=False), strict=True):
        assert one.dtype == torch.float32
        assert (one - other).norm() <= 2e-2 * other.norm()


def table_and_index(grid, dtype=torch.float64):
    rows = (2 * grid.height - 1) * (2 * grid.width - 1) + 3
    rng = torch.Generator().manual_seed(0)
    return torch.randn(rows, 2, generator=rng, dtype=dtype).requires_grad_(), position_index(grid)


@pytest.mark.parametrize("grid", [Grid(3, 3), Grid(2, 5), Grid(4, 1), Grid(1, 1), Grid(14, 14)], ids=str)
def test_a_learned_bias_has_the_gradient_of_its_look_up(grid):
    table, index = table_and_index(grid)
    expected, result = torch.nn.functional.embedding(index, table).permute(2, 0, 1)[None], pair_bias(table, index, grid)
    assert torch.equal(result, expected)
    assert "_LookUp" in type(result.grad_fn).__name__
    grad = torch.randn(expected.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    ours, theirs = (torch.autograd.grad(output, table, grad)[0] for output in (result, expected))
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


def test_a_learned_bias_has_gradients_of_gradients_and_of_other_types():
    table, index = table_and_index(Grid(2, 3))
    assert torch.autograd.gradgradcheck(lambda values: pair_bias(values, index, Grid(2, 3)) ** 2, (table,))
    small, index = table_and_index(Grid(6, 6), torch.bfloat16)
    pair_bias(small, index, Grid(6, 6)).square().sum().backward()
    expected = 2 * small.detach().float() * torch.bincount(index.flatten()).unsqueeze(1)
    torch.testing.assert_close(small.grad.float(), expected, rtol=0.01, atol=0)
