"""Encoding by a compiled program: one for whole batches, whatever else is encoded between them."""

import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend

from beit.tokenizer import DiscreteVAE, DiscreteVAEConfig, TokenEncoder


@pytest.fixture
def programs(monkeypatch):
    """Compile without generating code, and count the programs."""
    torch._dynamo.reset()
    counter, compile_ = CompileCounterWithBackend("eager"), torch.compile
    monkeypatch.setattr(torch, "compile", lambda what, **how: compile_(what, **{**how, "backend": counter}))
    return counter


@pytest.mark.e2e
def test_one_program_for_steps_and_measurements(programs):
    torch.manual_seed(0)
    tokenizer = DiscreteVAE(DiscreteVAEConfig(32, 8, 1, 2, 8))
    plain, compiled = TokenEncoder(tokenizer), TokenEncoder(tokenizer, compiled=True)
    pixels = torch.rand(8, 3, 16, 16)
    for pictures in (8, 8, 3, 8):  # the last batch of a pass is smaller
        assert torch.equal(compiled(pixels[:pictures]), plain(pixels[:pictures]))
        with torch.inference_mode():  # as measurements are taken
            assert torch.equal(compiled(pixels[:pictures] * 1), plain(pixels[:pictures]))
    assert programs.frame_count == 1
    assert compiled(torch.rand(9, 3, 16, 16)).shape == (9, 8, 8)
    assert programs.frame_count == 2
