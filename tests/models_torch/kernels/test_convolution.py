"""Maps that are resized, pooled and convolved by products, against PyTorch's own operations."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from beit import BeitConfig, BeitForSemanticSegmentation
from beit.models_torch import kernels
from beit.models_torch.kernels.convolution import (
    _shifted_enlargements,
    by_products,
    convolve_enlarged,
    resizing,
    windows,
)
from beit.models_torch.upernet import ConvBlock
from tests.conftest import TINY_MODEL

lengths = st.integers(1, 9)


def plain(map_BCyx, weight, size):
    enlarged = functional.interpolate(map_BCyx, size, mode="bilinear", align_corners=False)
    return functional.conv2d(enlarged, weight, padding=weight.shape[-1] // 2)


@settings(max_examples=60, deadline=None)
@given(lengths, lengths, lengths, lengths, st.sampled_from([1, 3, 5]))
def test_it_is_the_convolution_of_the_enlarged_map(y, x, height, width, side):
    draw = torch.Generator().manual_seed(0)
    map_BCyx = torch.randn(2, 3, y, x, generator=draw, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(4, 3, side, side, generator=draw, dtype=torch.float64, requires_grad=True)
    ours, wanted = convolve_enlarged(map_BCyx, weight, (height, width)), plain(map_BCyx, weight, (height, width))
    torch.testing.assert_close(ours, wanted, rtol=1e-12, atol=1e-12)
    away = torch.randn(wanted.shape, generator=draw, dtype=torch.float64)
    for mine, theirs in zip(
        torch.autograd.grad(ours, (map_BCyx, weight), away),
        torch.autograd.grad(wanted, (map_BCyx, weight), away),
        strict=True,
    ):
        torch.testing.assert_close(mine, theirs, rtol=1e-11, atol=1e-11)


class Enlarging(torch.nn.Module):
    """A convolution of a map that is enlarged to twice its sides."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.randn(2, 3, 3, 3, generator=torch.Generator().manual_seed(4)))

    def forward(self, map_BCyx):
        return convolve_enlarged(map_BCyx, self.weight, (2 * map_BCyx.shape[2], 2 * map_BCyx.shape[3]))


def test_matrices_of_known_sizes_are_constants_of_a_traced_program():
    model, map_BCyx = Enlarging(), torch.randn(2, 3, 5, 4, generator=torch.Generator().manual_seed(5))
    program = torch.export.export(model, (map_BCyx,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    assert not [node for node in program.graph.nodes if "arange" in str(node.target)]
    free = torch.export.export(model, (map_BCyx,), dynamic_shapes=({2: torch.export.Dim("rows", min=2)},))
    assert [node for node in free.graph.nodes if "arange" in str(node.target)]
    torch.testing.assert_close(program.module()(map_BCyx), model(map_BCyx))
    torch.testing.assert_close(free.module()(map_BCyx), model(map_BCyx))


def test_kept_matrices_are_not_handed_out():
    """What the caller does to one, and the mode in which it was made, is nothing to the next."""
    like = torch.zeros(1)
    with torch.inference_mode():
        first = _shifted_enlargements(5, 10, 3, like)
        kept = first.clone()
        first.zero_()
    again = _shifted_enlargements(5, 10, 3, like)
    assert torch.equal(again, kept)
    assert not again.is_inference()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_types_are_kept(dtype):
    map_BCyx = torch.randn(1, 8, 5, 4, generator=torch.Generator().manual_seed(1)).to(dtype)
    weight = (torch.randn(6, 8, 3, 3, generator=torch.Generator().manual_seed(2)) / 9).to(dtype)
    ours = convolve_enlarged(map_BCyx, weight, (20, 16))
    assert ours.dtype == dtype
    wanted = plain(map_BCyx.float(), weight.float(), (20, 16))
    torch.testing.assert_close(ours.float(), wanted, rtol=0, atol=1e-5 if dtype == torch.float32 else 4e-2)


def assert_same(products, plain, map_BCyx):
    """Compare values and gradients."""
    torch.testing.assert_close(products, plain, rtol=1e-12, atol=1e-12)
    away = torch.randn(plain.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    (mine,), (theirs,) = (torch.autograd.grad(result, map_BCyx, away) for result in (products, plain))
    torch.testing.assert_close(mine, theirs, rtol=1e-11, atol=1e-11)


@settings(max_examples=60, deadline=None)
@given(lengths, lengths, lengths, lengths, st.sampled_from(["bilinear", "bicubic"]))
def test_products_resize_as_interpolation_does(y, x, height, width, mode):
    map_BCyx = torch.randn(2, 3, y, x, dtype=torch.float64, requires_grad=True)
    products = by_products(map_BCyx, resizing(map_BCyx, 2, height, mode), resizing(map_BCyx, 3, width, mode))
    plain = functional.interpolate(map_BCyx, (height, width), mode=mode, align_corners=False)
    assert_same(products, plain, map_BCyx)


@settings(max_examples=40, deadline=None)
@given(lengths, lengths, st.integers(1, 6))
def test_products_pool_as_adaptive_pooling_does(y, x, scale):
    map_BCyx = torch.randn(2, 3, y, x, dtype=torch.float64, requires_grad=True)
    products = by_products(map_BCyx, windows(y, scale, map_BCyx), windows(x, scale, map_BCyx))
    assert_same(products, functional.adaptive_avg_pool2d(map_BCyx, scale), map_BCyx)


def test_off_the_cpu_types_are_kept():
    with torch.device("meta"):
        assert kernels.resize(torch.empty(1, 2, 4, 4), (8, 8)).dtype == torch.float32
        assert kernels.average_pool(torch.empty(1, 2, 4, 4, dtype=torch.bfloat16), 3).dtype == torch.bfloat16


@pytest.mark.parametrize(
    "options",
    [
        {"bias": True},
        {"padding": 0},
        {"padding": "same"},
        {"stride": 2},
        {"dilation": 2, "padding": 2},
        {"padding_mode": "circular"},
        {"kernel_size": (1, 3), "padding": (0, 1)},
        {"groups": 5},
    ],
    ids=str,
)
def test_convolutions_that_were_replaced_count_whole(options):
    """A batch norm that is folded into the convolution before it leaves a bias there."""
    conv = torch.nn.Conv2d(5, 10, **{"kernel_size": 3, "padding": 1, "bias": False, **options}).double()
    maps = [torch.randn(2, 3, 6, 5, dtype=torch.float64), torch.randn(2, 2, 3, 3, dtype=torch.float64)]
    whole = torch.cat((maps[0], functional.interpolate(maps[1], (6, 5), mode="bilinear", align_corners=False)), dim=1)
    torch.testing.assert_close(kernels.merge_maps(conv, maps), conv(whole))


def test_a_segmenter_whose_batch_norms_are_folded_in():
    torch.manual_seed(0)
    config = BeitConfig(**TINY_MODEL | {"num_hidden_layers": 4}, out_indices=[1, 2, 3, 4], num_labels=3)
    model = BeitForSemanticSegmentation(config).eval()
    for norm in (module for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d)):
        for values in (norm.running_mean, norm.running_var, norm.weight, norm.bias):
            torch.nn.init.uniform_(values, 0.5, 1.5)
    pixels = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        before = model(pixels).logits
        for block in (module for module in model.modules() if isinstance(module, ConvBlock)):
            block.conv, block.bn = fuse_conv_bn_eval(block.conv, block.bn), torch.nn.Identity()
        torch.testing.assert_close(model(pixels).logits, before)
