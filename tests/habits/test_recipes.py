"""Recipes by module names, as people write them for transformers 4.37.2."""

import re

import accelerate
import pytest
import torch
from captum.attr import IntegratedGradients, LayerGradCam

import beit
from tests.habits.pairs import assert_close, made, pixels

LABELS = torch.tensor([0, 2])


def test_grad_cam_of_captum_is_the_formula():
    model = made(beit)
    torch.nn.init.normal_(model.classifier.weight)
    norm = model.beit.encoder.layer[-1].layernorm_before
    cam = LayerGradCam(lambda x: model(x).logits, norm)
    # tokens are (B, S, D), and captum takes the second axis for channels: the weights are one per token there
    found = cam.attribute(pixels(), target=1)
    kept = {}
    handle = norm.register_forward_hook(lambda module, inputs, output: kept.update(tokens=output))
    score = model(pixels()).logits[:, 1].sum()
    handle.remove()
    (gradient,) = torch.autograd.grad(score, kept["tokens"])
    expected = (gradient.mean(dim=2, keepdim=True) * kept["tokens"]).sum(dim=1, keepdim=True)
    assert_close(found, expected)
    assert found.abs().sum() > 0


def test_integrated_gradients_add_up():
    model = made(beit)
    torch.nn.init.normal_(model.classifier.weight)
    _, rest = IntegratedGradients(lambda x: model(x).logits).attribute(
        pixels(), target=0, n_steps=100, return_convergence_delta=True
    )
    assert rest.abs().max() < 0.05


def test_the_first_layers_are_frozen():
    model = made(beit, num_hidden_layers=8)
    for name, parameter in model.named_parameters():
        if name.startswith("beit.embeddings") or re.match(r"beit\.encoder\.layer\.[0-5]\.", name):
            parameter.requires_grad = False
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    optimiser = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    model.train()(pixels(), labels=LABELS).loss.backward()
    optimiser.step()
    moved = {name for name, parameter in model.named_parameters() if not torch.equal(parameter, before[name])}
    assert moved == {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    layers = {re.search(r"layer\.(\d)\.", name)[1] for name in moved if ".layer." in name}
    assert layers == {"6", "7"}


def test_rates_by_layer():
    model, base, decay = made(beit, num_hidden_layers=3), 1e-2, 0.5
    groups = {}
    for name, parameter in model.named_parameters():
        found = re.search(r"encoder\.layer\.(\d+)\.", name)
        depth = int(found[1]) + 1 if found else 0 if ".embeddings." in name else 4
        groups.setdefault(depth, []).append(parameter)
    optimiser = torch.optim.SGD([{"params": part, "lr": base * decay ** (4 - depth)} for depth, part in groups.items()])
    assert sorted(groups) == [0, 1, 2, 3, 4]
    model.train()(pixels(), labels=LABELS).loss.backward()
    before = [parameter.clone() for parameter in groups[1]]
    optimiser.step()
    assert_close(before[0] - groups[1][0], base * decay**3 * groups[1][0].grad)


def test_a_loop_of_accelerate(accelerator):
    model = made(beit).train()
    model, optimiser = accelerator.prepare(model, torch.optim.AdamW(model.parameters(), lr=1e-2))
    losses = []
    for _ in range(20):
        output = model(pixel_values=pixels(), labels=LABELS)
        accelerator.backward(output.loss)
        optimiser.step()
        optimiser.zero_grad()
        losses.append(output.loss.item())
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize("offload", [accelerate.cpu_offload, accelerate.disk_offload])
def test_offloading_by_accelerate(tmp_path, offload):
    model = made(beit)
    with torch.no_grad():
        expected = model(pixels()).logits
        placed = offload(model, **({"offload_dir": str(tmp_path)} if offload is accelerate.disk_offload else {}))
        assert_close(placed(pixels()).logits, expected)
