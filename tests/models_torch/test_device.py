"""Devices and precisions by name; on a CPU the precision of a training is timed."""

import logging
import os

import pytest
import torch

from beit.errors import ConfigError
from beit.models_torch import device as module
from beit.models_torch.device import pick_device, pick_precision, pick_training_precision, sent
from beit.models_torch.kernels.fastest import FastestWays

ORDER = "CUBLAS_WORKSPACE_CONFIG"
CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.fixture
def faster(monkeypatch):
    """Make one precision the faster one."""

    def become(precision):
        ways = FastestWays()
        monkeypatch.setattr(ways, "way", lambda name, ways, operands: precision)
        monkeypatch.setattr(module, "FASTEST", ways)

    return become


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_auto_is_what_is_faster(faster, precision):
    faster(precision)
    assert pick_training_precision("auto", CPU, 192) == precision
    assert pick_training_precision("auto", CPU, None) == "fp32"
    assert pick_precision("auto", CPU) == "fp32"


def test_a_slow_choice_is_kept_and_warned_of(faster, caplog):
    faster("fp32")
    with caplog.at_level(logging.WARNING):
        assert pick_training_precision("bf16", CPU, 192) == "bf16"
    assert "slower than fp32 on this processor; try auto" in caplog.text
    caplog.clear()
    faster("bf16")
    pick_training_precision("bf16", CPU, 192)
    pick_training_precision("fp32", CPU, 192)
    assert caplog.text == ""


def test_both_precisions_are_really_timed(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    ways = FastestWays()
    monkeypatch.setattr(module, "FASTEST", ways)
    chosen = pick_training_precision("auto", CPU, 64)
    ((name, seconds),) = ways.timed().items()
    assert "width 64" in name
    assert chosen == min(seconds, key=seconds.get)
    assert min(seconds.values()) > 0


@pytest.mark.parametrize("given", [None, ":16:8"])
def test_products_of_a_gpu_may_be_exact_later(monkeypatch, given):
    monkeypatch.delenv(ORDER, raising=False)
    pick_device("cpu")
    assert ORDER not in os.environ, "a CPU needs none"
    if given is not None:
        monkeypatch.setenv(ORDER, given)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    try:
        assert pick_device("auto") == GPU
        assert os.environ[ORDER] == (given or ":4096:8")
    finally:
        os.environ.pop(ORDER, None)


def test_bf16_is_asked_of_the_gpu_that_computes(monkeypatch):
    current = [0]

    class Current:
        def __init__(self, device):
            self.index = device.index or 0

        def __enter__(self):
            self.before, current[0] = current[0], self.index

        def __exit__(self, *_):
            current[0] = self.before

    monkeypatch.setattr(torch.cuda, "device", Current)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: current[0] == 1)
    assert [pick_precision("auto", torch.device("cuda", index)) for index in (0, 1)] == ["fp32", "bf16"]
    assert current == [0]


def test_names_that_are_none():
    with pytest.raises(ConfigError, match="precision is 'half'; expected one of auto, fp32, bf16, fp16"):
        pick_training_precision("half", CPU, 192)
    with pytest.raises(ConfigError, match="device is 'gpu'; expected auto, cpu or cuda"):
        pick_device("gpu")


def test_what_is_sent_to_a_gpu_is_fetched_from_page_locked_memory(monkeypatch):
    """A copy from other memory waits for what the GPU was asked before."""
    order, done = torch.arange(3), []
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: done.append("pinned") or tensor)
    monkeypatch.setattr(torch.Tensor, "to", lambda tensor, device, non_blocking: done.append((device, non_blocking)))
    for place in (CPU, GPU):
        sent(order, place)
    assert done == [(CPU, True), "pinned", (GPU, True)]
