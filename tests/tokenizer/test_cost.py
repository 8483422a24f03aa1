"""Operations of visual tokens, counted without values."""

import pytest
import torch

from beit.tokenizer import DiscreteVAE, DiscreteVAEConfig, KMeansConfig, KMeansTokenizer
from beit.tokenizer.cost import encoding_flops


def convolutions(config, side):
    """Return the operations of every convolution of the encoder: two for each weight and place."""
    places = []
    model = DiscreteVAE(config).encoder
    for layer in (part for part in model.modules() if isinstance(part, torch.nn.Conv2d)):
        layer.register_forward_hook(lambda layer, _, out: places.append(2 * layer.weight.numel() * out[0, 0].numel()))
    model(torch.zeros(1, 3, side, side))
    return sum(places)


def test_those_of_a_discrete_vae_are_its_convolutions():
    config = DiscreteVAEConfig(vocab_size=16, hidden_size=8, blocks_per_group=1, groups=2, decoder_input_size=8)
    tokenizer = DiscreteVAE(config)
    assert encoding_flops(tokenizer, 3, 16, 16) == convolutions(config, 16)
    assert all(parameter.device.type == "cpu" for parameter in tokenizer.parameters())


def test_that_of_openai_is_known():
    with torch.device("meta"):
        tokenizer = DiscreteVAE(DiscreteVAEConfig())
    assert encoding_flops(tokenizer, 3, 112, 112) == pytest.approx(5.21e10, rel=1e-2)


def test_those_of_clusters_are_counted_too():
    tokenizer = KMeansTokenizer(KMeansConfig(vocab_size=8, patch_size=4, window=8, image_size=16))
    values = 3 * 8**2
    assert encoding_flops(tokenizer, 3, 16, 16) == 16 * 2 * values * (values + 8)


def test_what_is_no_module_has_none():
    class Brightness:
        vocab_size = 4

    assert encoding_flops(Brightness(), 3, 16, 16) == 0
