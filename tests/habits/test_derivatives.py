"""Derivatives beyond one backward pass: forward mode, per sample, and of gradients."""

import pytest
import torch
from torch.autograd import forward_ad
from torch.func import functional_call, grad, hessian, jvp, stack_module_state, vmap

import beit
from tests.habits.pairs import OPTIONS, assert_close, both, made, pair, pixels


def values(output):
    return output.feature_maps[-1] if "feature_maps" in output else output[0]


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("wants_gradients", [True, False])
def test_forward_mode_is_the_transpose_of_backward(name, wants_gradients):
    """<J v, w> = <v, J' w>, for directions v of the pictures and w of the result."""
    model = made(beit, name, initializer_range=0.2).requires_grad_(wants_gradients)
    x, v = pixels().requires_grad_(), torch.randn(2, 3, 32, 32)
    result, carried = jvp(lambda one: values(model(one)), (x.detach(),), (v,))
    w = torch.randn_like(result)
    assert_close(result, values(model(x)))
    (back,) = torch.autograd.grad(values(model(x)), x, w)
    assert_close((carried * w).sum(), (back * v).sum(), 1e-4)
    with forward_ad.dual_level():
        dual = forward_ad.unpack_dual(values(model(forward_ad.make_dual(x.detach(), v))))
    assert_close(dual.tangent, carried)


def test_second_derivatives_of_a_head(tmp_path):
    found = []
    for model in pair(tmp_path):
        if hasattr(model, "set_attn_implementation"):
            model.set_attn_implementation("eager")  # whose kernel theirs has them of
        labels = torch.tensor([0, 2])

        def loss(bias, model=model, labels=labels):
            return functional_call(model, {"classifier.bias": bias}, (pixels(),), {"labels": labels}).loss

        found.append(hessian(loss)(model.classifier.bias.detach()))
    assert_close(*found)


@both
def test_forward_mode_leaves_other_calls_alone(library):
    model = made(library)
    with torch.no_grad():
        before = model(pixels()).logits
        if library is beit:
            jvp(lambda x: model(x).logits, (pixels(),), (pixels(),))
        assert_close(model(pixels()).logits, before, 0)


@pytest.mark.parametrize("name", OPTIONS)
def test_an_ensemble_of_models_learns_in_one_call(name):
    models = [made(beit, name, initializer_range=0.2) for _ in range(2)]
    for parameter in models[1].parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    parameters, buffers = stack_module_state(models)

    def one(parameters, buffers):
        return values(functional_call(models[0], (parameters, buffers), (pixels(),)))

    together = torch.vmap(one)(parameters, buffers)
    assert_close(together, torch.stack([values(model(pixels())) for model in models]))
    table = "relative_position_bias_table"
    given = next(parameter for key, parameter in parameters.items() if key.endswith(table))
    (found,) = torch.autograd.grad(together.square().sum(), given)
    for place, model in enumerate(models):
        own = next(parameter for key, parameter in model.named_parameters() if key.endswith(table))
        assert_close(found[place], torch.autograd.grad(values(model(pixels())).square().sum(), own)[0], 1e-3)


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("BeitForImageClassification", torch.tensor([0, 2])),
        ("BeitForMaskedImageModeling", torch.arange(32).view(2, 16) % 5),
        ("BeitForSemanticSegmentation", torch.arange(2 * 32 * 32).view(2, 32, 32) % 3),
    ],
)
def test_gradients_of_each_sample(name, labels):
    model = made(beit, name, initializer_range=0.2)
    parameters = dict(model.named_parameters())

    def loss(parameters, picture, label):
        return functional_call(model, parameters, (picture[None],), {"labels": label[None]}).loss

    each = vmap(grad(loss), in_dims=(None, 0, 0))
    found = each(parameters, pixels(), labels)
    model(pixels()[1:], labels=labels[1:]).loss.backward()
    for key, parameter in parameters.items():
        if parameter.grad is not None:
            assert_close(found[key][1], parameter.grad, 1e-4)


@pytest.mark.parametrize("randomness", ["same", "different"])
def test_each_sample_may_lose_its_own_branches(randomness):
    model = made(beit, initializer_range=0.2, drop_path_rate=0.5, layer_scale_init_value=1.0, num_hidden_layers=4)

    def features(picture):
        return model.beit(picture[None]).pooler_output[0]

    model.train()
    found = vmap(features, randomness=randomness)(pixels()[:1].expand(8, -1, -1, -1))
    assert ((found - found[0]).abs().max() > 1e-2) == (randomness == "different")
