"""Encoding by a compiled program: one for whole batches, whatever else is encoded between them."""

import json

import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend

from beit.settings.groups import PictureSettings
from beit.settings.tokenizer import EncodeJob
from beit.tasks.encode import encode_pictures
from beit.tokenizer import DiscreteVAE, DiscreteVAEConfig, TokenEncoder, load_tokenizer


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


@pytest.mark.e2e
def test_what_comes_before_the_first_whole_batch_has_no_program(programs):
    """Pictures of a gallery, and the rest that an encoding goes on with after a stop: minutes on a GPU for each."""
    torch.manual_seed(0)
    tokenizer = DiscreteVAE(DiscreteVAEConfig(32, 8, 1, 2, 8))
    plain, compiled = TokenEncoder(tokenizer), TokenEncoder(tokenizer, compiled=True, whole=8)
    pixels = torch.rand(12, 3, 16, 16)
    for pictures, expected in ((4, 0), (8, 1), (12, 1), (8, 1), (3, 1)):
        assert torch.equal(compiled(pixels[:pictures]), plain(pixels[:pictures]))
        assert programs.frame_count == expected


@pytest.mark.e2e
def test_the_rest_of_an_encoding_has_no_program_after_a_stop_either(programs, tmp_path):
    """So its tokens are those of an encoding that was not stopped, however near two codes are."""
    torch.manual_seed(0)
    DiscreteVAE(DiscreteVAEConfig(32, 8, 1, 2, 8, image_size=8)).save_pretrained(tmp_path / "tokenizer")
    job = EncodeJob(
        str(tmp_path / "tokenizer"), PictureSettings("digits:test", workers=0), "cpu", "fp32", batch_size=64,
        compile=True, output=str(tmp_path / "tokens"),
    )  # fmt: skip
    encode_pictures(job)
    assert programs.frame_count == 1
    header = tmp_path / "tokens/facts.json"
    header.write_text(json.dumps(json.loads(header.read_text()) | {"finished_rows": 448}))  # of 500
    programs.clear()
    encode_pictures(job)
    assert json.loads(header.read_text())["finished_rows"] == 500
    assert programs.frame_count == 0


@pytest.mark.e2e
def test_one_program_beside_a_training_in_half_precision(programs):
    """Under autocast an operation that a compiler cannot trace would make a new program in every call."""
    tokenizer = load_tokenizer("beit/nano-cifar10-tokens")
    plain, compiled = TokenEncoder(tokenizer), TokenEncoder(tokenizer, precision="bf16", compiled=True)
    for _ in range(3):
        pixels = torch.rand(4, 3, 32, 32)
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(compiled(pixels), plain(pixels))
    assert programs.frame_count == 1
