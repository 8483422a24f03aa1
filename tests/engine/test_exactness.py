"""Modes of PyTorch in an exact and in a fast run, whatever the device at hand."""

import pytest
import torch
from torch import nn
from torch.backends import cudnn

from beit.engine.exactness import computing, is_exact, placed
from beit.settings.groups import RunSettings

GPU, CPU = torch.device("cuda"), torch.device("cpu")


def modes():
    return (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        torch.utils.deterministic.fill_uninitialized_memory,
        torch.get_float32_matmul_precision(),
        cudnn.allow_tf32,
        cudnn.benchmark,
        torch.backends.cuda.mem_efficient_sdp_enabled(),
        torch.backends.cuda.flash_sdp_enabled(),
        torch.backends.cuda.math_sdp_enabled(),
    )


@pytest.mark.parametrize(
    ("exact", "device", "expected"),
    [
        (True, GPU, (True, False, False, "highest", False, False, False, True, True)),
        (False, GPU, (False, False, False, "high", True, True, True, True, True)),
        (True, CPU, (True, False, False, "highest", False, False, True, True, True)),
        (False, CPU, None),
    ],
)
def test_modes_are_set_inside_and_as_before_outside(exact, device, expected):
    before = modes()
    with computing(exact, device):
        assert modes() == (before if expected is None else expected)
    assert modes() == before


def test_they_are_as_before_after_an_error_too():
    before = modes()
    with pytest.raises(RuntimeError, match="full"), computing(exact=True, device=GPU):
        raise RuntimeError("full")
    assert modes() == before


NEWER = (torch.backends, torch.backends.cuda.matmul, cudnn.conv, torch.backends.mkldnn.matmul)


@pytest.mark.skipif(not hasattr(torch.backends, "fp32_precision"), reason="this PyTorch has the older settings alone")
@pytest.mark.parametrize("place", [0, 1, 2, 3])
@pytest.mark.parametrize(("exact", "device"), [(True, GPU), (False, GPU), (True, CPU), (False, CPU)])
def test_a_program_that_uses_the_newer_settings_of_float32(place, exact, device):
    unused, NEWER[place].fp32_precision = NEWER[place].fp32_precision, "tf32"
    try:
        before = [backend.fp32_precision for backend in NEWER]
        with computing(exact, device):
            if exact or device == GPU:
                older = torch.get_float32_matmul_precision(), cudnn.allow_tf32
                assert older == (("highest", False) if exact else ("high", True))
        assert [backend.fp32_precision for backend in NEWER] == before
    finally:
        NEWER[place].fp32_precision = unused


def test_exact_is_for_gpus_that_are_asked():
    assert [is_exact(RunSettings(output="x", exact=wanted), GPU) for wanted in ("auto", True, False)] == [0, 1, 0]
    assert [is_exact(RunSettings(output="x", exact=wanted), CPU) for wanted in ("auto", True, False)] == [1, 1, 0]


def test_an_operation_without_an_order_is_an_error():
    with computing(exact=True, device=GPU), pytest.raises(RuntimeError, match="deterministic implementation"):
        torch.zeros(3).put_(torch.tensor([0]), torch.ones(1))


@pytest.mark.parametrize(("exact", "device", "last"), [(False, GPU, True), (True, GPU, False), (False, CPU, False)])
def test_convolutions_of_a_fast_run_work_channels_last(monkeypatch, exact, device, last):
    layer = nn.Conv2d(4, 8, 3)
    to = nn.Module.to
    moved = lambda module, *place, **how: module if place else to(module, **how)  # noqa: E731  # there is no GPU
    monkeypatch.setattr(nn.Module, "to", moved)
    assert placed(layer, exact, device) is layer
    assert layer.weight.is_contiguous(memory_format=torch.channels_last) == last
