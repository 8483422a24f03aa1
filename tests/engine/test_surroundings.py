"""A run in the middle of a program: it computes as in a process of its own, and leaves all modes as they were."""

from contextlib import nullcontext

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, PartialState

from beit.engine.surroundings import own_surroundings
from beit.models_torch.kernels import FASTEST
from tests.e2e.small import FEW, FINETUNE, beit


@pytest.fixture(autouse=True)
def nothing_of_accelerate():
    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


def test_modes_of_a_program_are_not_those_of_a_run():
    torch.set_default_dtype(torch.float64)
    torch.set_default_device("meta")
    try:
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16), own_surroundings():
            assert torch.ones(1).dtype == torch.float32
            assert torch.ones(1).device.type == "cpu"
            assert torch.is_grad_enabled()
            assert not torch.is_inference_mode_enabled()
            assert not torch.is_autocast_enabled("cpu")
        assert torch.get_default_dtype() == torch.float64
        assert torch.get_default_device().type == "meta"
    finally:
        torch.set_default_dtype(torch.float32)
        torch.set_default_device(None)
    with torch.no_grad(), own_surroundings():
        assert torch.is_grad_enabled()


@pytest.mark.parametrize("outside", [True, False], ids=["inside an autocast", "alone"])
def test_weights_are_cast_anew_in_every_step(outside):
    """Those that are kept for an autocast inside another one are kept until the outer one ends."""
    layer, tokens = torch.nn.Linear(2, 1, bias=False), torch.ones(1, 2)
    with torch.autocast("cpu", torch.bfloat16) if outside else nullcontext(), own_surroundings():
        for weight in (1.0, 2.0):
            with torch.no_grad():
                layer.weight.fill_(weight)
            with torch.autocast("cpu", torch.bfloat16):
                assert layer(tokens).item() == 2 * weight
    assert not torch.is_autocast_enabled("cpu")
    assert torch.autocast_increment_nesting() == 1
    torch.autocast_decrement_nesting()


def test_random_stream_and_threads_are_as_before():
    threads = torch.get_num_threads()
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    with own_surroundings():
        torch.manual_seed(1)
        torch.rand(5)
        torch.set_num_threads(threads + 1)
    assert torch.equal(torch.rand(3), expected)
    assert torch.get_num_threads() == threads


def test_an_accelerator_of_the_program_is_set_aside():
    theirs = Accelerator(cpu=True, mixed_precision="bf16")
    with own_surroundings():
        assert Accelerator(cpu=True, mixed_precision="no").mixed_precision == "no"
    assert theirs.mixed_precision == "bf16"
    assert theirs.device.type == "cpu"


def test_the_program_may_choose_its_own_afterwards():
    with own_surroundings():
        Accelerator(cpu=True, mixed_precision="no")
    assert not PartialState._shared_state
    assert Accelerator(cpu=True, mixed_precision="bf16").mixed_precision == "bf16"


def test_kernels_of_an_earlier_run_are_not_obeyed(monkeypatch):
    monkeypatch.setattr(FASTEST, "_chosen", {"product": "onednn"})
    with own_surroundings():
        assert FASTEST.choices() == {}
        FASTEST.obey({"product": "torch"})
    assert FASTEST.choices() == {"product": "onednn"}


PROGRAM = """
import torch
from contextlib import nullcontext
from pathlib import Path
from beit.cli.main import main

def default(change, value, before):
    change(value)
    return lambda: change(before)

def trained(name, inside=nullcontext, undo=lambda: None):
    with inside():
        assert main([*{arguments}, "--run.output={place}/" + name]) == 0, name
    undo()
    return Path("{place}", name, "model/model.safetensors").read_bytes()

plain = trained("plain")
assert trained("bf16", lambda: torch.autocast("cpu", torch.bfloat16)) == plain
assert trained("inference", torch.inference_mode) == plain
assert trained("no_grad", torch.no_grad) == plain
assert trained("float64", undo=default(torch.set_default_dtype, torch.float64, torch.float32)) == plain
assert trained("meta", undo=default(torch.set_default_device, "meta", None)) == plain
"""


@pytest.mark.e2e
def test_a_training_has_the_same_bits_wherever_it_begins(tmp_path):
    arguments = [
        "finetune", *FINETUNE, *FEW, "--optim.warmup_steps=2", "--train.max_steps=4", "--train.batch_size=16",
        "--validation.every=0", "--run.report=false", "--run.precision=fp32",
    ]  # fmt: skip
    ended = beit(code=PROGRAM.format(arguments=arguments, place=tmp_path))
    assert not ended.returncode, ended.stderr
