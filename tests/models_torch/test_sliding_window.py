"""Windows give the plain mean per pixel, whatever the size of the picture."""

import pytest
import torch
from torch.nn import functional

from beit import BeitConfig, BeitForSemanticSegmentation
from beit.errors import ConfigError
from beit.models_torch import sliding_window
from beit.models_torch.sliding_window import Windows, windowed_logits
from tests.conftest import TINY_MODEL


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    options = {**TINY_MODEL, "num_hidden_layers": 4, "out_indices": [1, 2, 3, 4], "num_labels": 5}
    return BeitForSemanticSegmentation(BeitConfig(**options, use_relative_position_bias=True)).eval()


def joined(model, pixels, windows=None):
    whole = torch.full((5, *pixels.shape[1:]), float("nan"))
    for strip in windowed_logits(model, pixels, windows):
        assert whole[:, strip.rows, strip.columns].isnan().all(), "every pixel once"
        whole[:, strip.rows, strip.columns] = strip.logits
    return whole


@torch.inference_mode()
def plain(model, pixels, size, stride):
    """The published "slide" inference, which holds everything at once."""
    height, width = pixels.shape[1:]
    total, count = torch.zeros(5, height, width), torch.zeros(height, width)
    for top in range(0, max(height - size + stride - 1, 0) // stride * stride + 1, stride):
        for left in range(0, max(width - size + stride - 1, 0) // stride * stride + 1, stride):
            bottom, right = min(top + size, height), min(left + size, width)
            here = (slice(max(bottom - size, 0), bottom), slice(max(right - size, 0), right))
            window = pixels[:, *here]
            patch = model.config.patch_hw[0]
            padded = functional.pad(window, (0, -window.shape[2] % patch, 0, -window.shape[1] % patch))
            logits = model(padded[None]).logits
            logits = functional.interpolate(logits, padded.shape[1:], mode="bilinear", align_corners=False)[0]
            total[:, *here] += logits[:, : window.shape[1], : window.shape[2]]
            count[here] += 1
    return total / count


@pytest.mark.parametrize("hw", [(32, 32), (70, 45), (45, 70), (33, 100), (20, 21), (64, 64), (129, 31)])
@pytest.mark.parametrize(("size", "stride"), [(32, 20), (32, 32), (48, 7)])
@pytest.mark.e2e
def test_the_mean_of_all_windows(model, hw, size, stride):
    pixels = torch.randn(3, *hw, generator=torch.Generator().manual_seed(1))
    found = joined(model, pixels, Windows((size, size), (stride, stride)))
    torch.testing.assert_close(found, plain(model, pixels, size, stride), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("hw", [(64, 96), (96, 64), (50, 61)])
def test_one_window_is_the_model_itself(model, hw):
    pixels = torch.randn(3, *hw, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(joined(model, pixels), plain(model, pixels, 100, 100), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("hw", [(8, 40), (3, 50), (40, 5), (1, 1)])
def test_pictures_of_one_patch_are_seen_with_another_beside_it(model, hw):
    """The coarsest map would have no place at all."""
    pixels = torch.randn(3, *hw, generator=torch.Generator().manual_seed(2))
    sides = [max(2 * patch, -(-side // patch) * patch) for side, patch in zip(hw, model.config.patch_hw, strict=True)]
    padded = functional.pad(pixels, (0, sides[1] - hw[1], 0, sides[0] - hw[0]))
    with torch.inference_mode():
        logits = functional.interpolate(model(padded[None]).logits, tuple(sides), mode="bilinear")[0]
    torch.testing.assert_close(joined(model, pixels), logits[:, : hw[0], : hw[1]], rtol=1e-4, atol=1e-5)


def test_a_stride_that_leaves_gaps():
    with pytest.raises(ConfigError, match="the stride of a window of 32 pixels is 33; expected 1 to 32"):
        Windows((32, 32), (33, 32))


def test_windows_end_with_the_picture():
    assert Windows((640, 640), (426, 426)).starts(2048, 1) == [0, 426, 852, 1278, 1408]
    assert Windows((640, 640), (426, 426)).starts(640, 0) == [0]
    assert Windows((640, 640), (320, 320)).starts(1280, 0) == [0, 320, 640]


@pytest.mark.parametrize("hw", [(70, 45), (33, 100)])
def test_small_windows_are_seen_together(model, hw, monkeypatch):
    """With equal results, and fewer calls of the model."""
    pixels, windows = torch.randn(3, *hw, generator=torch.Generator().manual_seed(3)), Windows((32, 32), (16, 16))
    calls = []
    handle = model.register_forward_pre_hook(lambda _, given: calls.append(len(given[0])))
    together, counts = joined(model, pixels, windows), calls.copy()
    monkeypatch.setattr(sliding_window, "_PIXELS_AT_ONCE", 1)
    calls.clear()
    one_by_one = joined(model, pixels, windows)
    handle.remove()
    torch.testing.assert_close(together, one_by_one, rtol=1e-4, atol=1e-5)
    assert set(calls) == {1}
    assert sum(counts) == len(calls) > len(counts)
