"""Label maps of the scores of a segmentation model."""

import importlib.util
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from beit.errors import ConfigError
from beit.image.processor import BeitImageProcessor


@pytest.mark.parametrize("hw", [(1, 1), (5, 7), (12, 10), (13, 200), (160, 160), (333, 77)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_post_processing_is_interpolation(hw, dtype, monkeypatch):
    monkeypatch.setattr("beit.image.post_processing._BAND_VALUES", 5000)  # many bands, the last one shorter
    logits = torch.randn(2, 6, 12, 10, generator=torch.Generator().manual_seed(0)).to(dtype)
    exact = logits.float() if dtype == torch.bfloat16 else logits
    expected = torch.nn.functional.interpolate(exact, size=hw, mode="bilinear", align_corners=False).argmax(1)
    processor = BeitImageProcessor()
    ours = processor.post_process_semantic_segmentation(SimpleNamespace(logits=logits), torch.tensor([hw, hw]))
    assert ours[0].dtype == torch.int64
    assert torch.equal(torch.stack(ours), expected)
    if dtype != torch.bfloat16:
        ours = processor.post_process_semantic_segmentation({"logits": logits.numpy()}, [hw, list(hw)])
        np.testing.assert_array_equal(np.stack(ours), expected.numpy())
        assert ours[0].dtype == np.int64


def test_post_processing_needs_little_memory():
    outputs = SimpleNamespace(logits=np.random.default_rng(0).normal(size=(1, 150, 20, 20)).astype(np.float32))
    tracemalloc = importlib.import_module("tracemalloc")
    tracemalloc.start()
    (found,) = BeitImageProcessor().post_process_semantic_segmentation(outputs, [(600, 800)])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.shape == (600, 800)
    assert peak < 150 * 600 * 800 * 4 / 2  # the whole volume of scores would be twice as much


@pytest.mark.parametrize(
    ("outputs", "target_sizes", "message"),
    [
        (object(), None, r"a object has no logits; pass what"),
        (SimpleNamespace(logits=np.zeros((2, 3))), None, r"shape \(2, 3\); expected \(batch"),
        (SimpleNamespace(logits=np.zeros((2, 3, 4, 4))), [(4, 4)], r"for 2 pictures; expected one"),
        (SimpleNamespace(logits=np.zeros((1, 3, 4, 4))), [(4, 0)], r"\(4, 0\); expected \(height, width\)"),
        (SimpleNamespace(logits=np.zeros((1, 3, 4, 4))), [(4, 2.5)], r"\(4, 2.5\); expected \(height, width\)"),
        (SimpleNamespace(logits=np.zeros((1, 3, 4, 4))), [4], r"target size is 4; expected \(height, width\)"),
    ],
)
def test_post_processing_says_what_is_wrong(outputs, target_sizes, message):
    with pytest.raises(ConfigError, match=message):
        BeitImageProcessor().post_process_semantic_segmentation(outputs, target_sizes)


@pytest.mark.parametrize("framework", ["torch", "numpy"])
@pytest.mark.parametrize("size", [None, (50, 70), (3, 2), (700, 900)])
def test_scores_on_request(framework, size):
    logits = torch.randn(2, 5, 12, 16, generator=torch.Generator().manual_seed(0))
    sizes = None if size is None else [size, size]
    outputs = {"logits": logits if framework == "torch" else logits.numpy()}
    found = BeitImageProcessor().post_process_semantic_segmentation(outputs, sizes, return_scores=True)
    wide = logits if size is None else torch.nn.functional.interpolate(logits, size=size, mode="bilinear")
    best, labels = wide.softmax(1).max(1)
    for index, (map_HW, scores_HW) in enumerate(found):
        agree = np.asarray(map_HW) == labels[index].numpy()
        assert agree.mean() > 0.999
        np.testing.assert_allclose(np.asarray(scores_HW), best[index].numpy(), atol=1e-5)
