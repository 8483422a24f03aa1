"""Chunks of pictures in which a CPU computes visual tokens."""

import pytest
import torch

from beit.tokenizer import DiscreteVAE, DiscreteVAEConfig


@pytest.fixture
def encoder():
    torch.manual_seed(0)
    return DiscreteVAE(DiscreteVAEConfig(32, 32, 1, 3, 8)).encoder.eval()


@torch.no_grad()
def stem_batches(encoder, pixels):
    """How many pictures the first convolution was given at a time, and the tokens."""
    sizes = []
    hook = encoder.stem.register_forward_hook(lambda _, inputs, __: sizes.append(len(inputs[0])))
    tokens = encoder.tokens(pixels)
    hook.remove()
    return sizes, tokens


@pytest.mark.parametrize(
    ("side", "pictures", "expected"), [(8, 64, [64]), (32, 40, [16, 16, 8]), (128, 3, [1, 1, 1]), (256, 2, [1, 1])]
)
def test_chunks_hold_as_many_numbers_whatever_the_size_of_a_picture(encoder, side, pictures, expected):
    assert stem_batches(encoder, torch.rand(pictures, 3, side, side))[0] == expected


def test_chunks_change_no_token(encoder):
    pixels = torch.rand(70, 3, 32, 32)
    sizes, tokens = stem_batches(encoder, pixels)
    assert len(sizes) > 1
    with torch.no_grad():
        assert torch.equal(tokens, encoder(pixels).argmax(dim=1))


def test_no_pictures_at_all(encoder):
    assert encoder.tokens(torch.rand(0, 3, 32, 48)).shape == (0, 8, 12)
