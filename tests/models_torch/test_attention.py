import pytest
import torch

from beit.geometry import Grid
from beit.models_torch.attention import Attention, Positions, position_index

POSITIONS = Positions(Grid(2, 3), position_index(Grid(2, 3)))


@pytest.fixture
def attention():
    torch.manual_seed(0)
    layer = Attention(dim=16, heads=4, grid=Grid(2, 3))
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter)
    return layer.eval()


def test_fused_and_plain_are_the_same(attention):
    tokens = torch.randn(2, 7, 16)
    shared = torch.randn(1, 4, 7, 7)
    fused, nothing = attention(tokens, None, False, shared, POSITIONS)
    plain, maps = attention(tokens, None, True, shared, POSITIONS)
    torch.testing.assert_close(fused, plain, atol=1e-5, rtol=1e-4)
    assert nothing is None
    torch.testing.assert_close(maps.sum(-1), torch.ones(2, 4, 7))


def test_the_plain_formula(attention):
    """softmax(q k / sqrt(d) + bias) v, written out for one head of one sample."""
    tokens = torch.randn(1, 7, 16)
    own = attention.attention
    q = tokens[0] @ own.query.weight.T + own.query.bias
    k = tokens[0] @ own.key.weight.T
    v = tokens[0] @ own.value.weight.T + own.value.bias
    heads = [slice(4 * head, 4 * head + 4) for head in range(4)]
    bias = own.relative_position_bias(POSITIONS)[0]
    context = torch.cat([(q[:, h] @ k[:, h].T / 2 + bias[i]).softmax(-1) @ v[:, h] for i, h in enumerate(heads)], dim=1)
    torch.testing.assert_close(
        attention(tokens, positions=POSITIONS)[0][0], attention.output(context), atol=1e-5, rtol=1e-4
    )


def test_silencing_every_head_leaves_the_output_bias(attention):
    silent, _ = attention(torch.randn(2, 7, 16), torch.zeros(4), positions=POSITIONS)
    torch.testing.assert_close(silent, attention.output.dense.bias.expand(2, 7, 16))
