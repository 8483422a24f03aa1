"""What is asked of outputs: tuples for TorchScript, gradients of what they hold, and maps that a hook sees."""

import warnings

import pytest
import torch
from torch import nn

import beit
from tests.habits.pairs import OPTIONS, assert_close, both, made, pixels


def tensors(output):
    """All tensors of an output, in their order."""
    if isinstance(output, torch.Tensor):
        return [output]
    parts = output.to_tuple() if hasattr(output, "to_tuple") else output
    return [tensor for part in parts for tensor in tensors(part)]


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize("options", [{}, {"output_attentions": True}, {"output_hidden_states": True}])
@pytest.mark.parametrize("name", OPTIONS)
def test_torchscript(tmp_path, name, options):
    """As in 4.37.2: with `torchscript` models return tuples, can be traced, and the file gives their numbers."""
    made(beit, name).save_pretrained(tmp_path)
    model = getattr(beit, name).from_pretrained(tmp_path, torchscript=True, **options)
    plain = model(pixels())
    assert type(plain) is tuple
    torch.jit.save(torch.jit.trace(model, pixels()), tmp_path / "model.pt")
    found = torch.jit.load(tmp_path / "model.pt")(pixels())
    for one, other in zip(tensors(found), tensors(plain), strict=True):
        assert_close(one, other)


@both
@pytest.mark.parametrize("name", OPTIONS)
def test_gradients_of_hidden_states_and_attentions(library, name):
    options = {"output_hidden_states": True, "output_attentions": True}
    output = made(library, name, attn_implementation="eager", **options)(pixels())
    states, maps = output.hidden_states[0], output.attentions[0]
    states.retain_grad()
    maps.retain_grad()
    tensors(output)[0 if name != "BeitBackbone" else len(output.feature_maps) - 1].sum().backward(retain_graph=True)
    assert states.grad is not None
    assert maps.grad is not None or name == "BeitBackbone"


def test_a_hook_on_the_dropout_of_attention_sees_the_maps():
    """Attention rollout is written so, for 4.37.2; it costs the fused kernel."""
    model, seen = made(beit), []
    plain = model(pixels(), output_attentions=True)
    for layer in model.beit.encoder.layer:
        layer.attention.attention.dropout.register_forward_hook(lambda part, inputs, output: seen.append(output))
    assert_close(model(pixels()).logits, plain.logits)
    for one, other in zip(seen, plain.attentions, strict=True):
        assert_close(one, other)


def test_another_dropout_of_attention_is_called():
    model = made(beit)
    for layer in model.beit.encoder.layer:
        layer.attention.attention.dropout = nn.AlphaDropout(0.9)
    assert not torch.equal(model.train()(pixels()).logits, model.eval()(pixels()).logits)


def test_reentrant_checkpoints():
    """They are accepted, with the gradients of the other form; theirs fail on a bias that layers share."""
    losses = []
    for options in ({"use_reentrant": True}, {"use_reentrant": False}):
        model = made(beit, use_shared_relative_position_bias=True, use_relative_position_bias=False)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.gradient_checkpointing_enable(gradient_checkpointing_kwargs=options)
            loss = model.train()(pixels(), labels=torch.tensor([0, 1])).loss
            loss.backward()
        losses.append(loss.detach())
        assert all(parameter.grad is not None for parameter in model.parameters())
    assert_close(*losses)


def test_an_encoder_alone():
    """The grid is that of the config where none is given."""
    model = made(beit, "BeitModel")
    tokens, grid = model.embeddings(pixels())
    assert_close(model.encoder(tokens).last_hidden_state, model.encoder(tokens, grid=grid).last_hidden_state, 0)
