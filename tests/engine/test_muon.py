"""Muon and AdamW as one optimiser: who takes which parameter, equal to torch's own, and resumed bit for bit."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file
from torch.utils.flop_counter import FlopCounterMode

from beit import BeitForImageClassification, preset
from beit.engine import muon
from beit.engine.muon import (
    MuonAdamW,
    _iterated,
    _of_one_shape,
    check_muon,
    is_hidden_matrix,
    iteration_flops,
    orthogonalised,
)
from beit.engine.optimiser import (
    FILE_NAME,
    build_optimiser,
    optimiser_tensors,
    parameter_groups,
    restore_optimiser,
    set_learning_rate,
    set_weight_decay,
)
from beit.engine.throughput import state_bytes
from beit.errors import CheckpointError, ConfigError
from beit.settings.groups import OptimSettings, RunSettings
from tests.conftest import TINY_MODEL

MUON = OptimSettings(name="muon", lr=1e-2, weight_decay=0.1)
MATRICES = (
    "attention.attention.query", "attention.attention.key", "attention.attention.value", "attention.output.dense",
    "intermediate.dense", "output.dense",
)  # fmt: skip


def classifier():
    torch.manual_seed(0)
    return BeitForImageClassification(preset("tiny", **TINY_MODEL, use_relative_position_bias=True))


def optimiser_of(model, settings=MUON, layer_decay=1.0, precision="fp32"):
    return build_optimiser(parameter_groups(model, settings.weight_decay, layer_decay, 2), settings, precision)


def give_gradients(model, step):
    torch.manual_seed(step)
    for parameter in model.parameters():
        parameter.grad = torch.randn_like(parameter)


def test_muon_takes_the_matrices_of_the_layers_and_adamw_the_rest():
    model = classifier()
    taken = {name for name, parameter in model.named_parameters() if is_hidden_matrix(name, parameter)}
    assert taken == {f"beit.encoder.layer.{layer}.{name}.weight" for layer in (0, 1) for name in MATRICES}
    optimiser = optimiser_of(model)
    give_gradients(model, 0)
    optimiser.step()
    for name, parameter in model.named_parameters():
        expected = {"momentum_buffer"} if name in taken else {"step", "exp_avg", "exp_avg_sq"}
        assert optimiser.state[parameter].keys() == expected, name
    optimiser.zero_grad()
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_every_update_is_that_of_torch(monkeypatch, precision):
    """Each parameter beside an optimiser of its own, with layer-wise rates and the group's weight decay.

    torch's Muon iterates in bfloat16, as ours in a run of that precision; else here in float32 as ours on a CPU.
    """
    if precision == "fp32":
        monkeypatch.setattr(torch.Tensor, "bfloat16", torch.Tensor.clone)
    model, twin = classifier(), classifier()
    optimiser = optimiser_of(model, layer_decay=0.5, precision=precision)
    set_learning_rate(optimiser, 1e-2)
    set_weight_decay(optimiser, 0.2)
    groups = {id(parameter): group for group in optimiser.param_groups for parameter in group["params"]}
    alone = []
    for (name, parameter), other in zip(model.named_parameters(), twin.parameters(), strict=True):
        group = groups[id(parameter)]
        options = {"lr": group["lr"], "weight_decay": 0.2 if group["decays"] else 0.0}
        if is_hidden_matrix(name, parameter):
            layer = int(name.split(".")[3])
            assert group["lr"] == pytest.approx(1e-2 * 0.5 ** (2 - layer))
            alone.append(torch.optim.Muon([other], momentum=0.95, adjust_lr_fn="match_rms_adamw", **options))
        else:
            alone.append(torch.optim.AdamW([other], betas=MUON.betas, eps=MUON.eps, fused=True, **options))
    for step in range(3):
        give_gradients(model, step)
        give_gradients(twin, step)
        optimiser.step()
        for one in alone:
            one.step()
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, twin.get_parameter(name)), name


def test_an_update_has_the_size_of_adamw():
    """The root mean square of an update over the learning rate is about 0.2, whatever the shape of the matrix."""
    model = classifier()
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    optimiser = optimiser_of(model, replace(MUON, weight_decay=0.0))
    give_gradients(model, 0)
    optimiser.step()
    for name, parameter in model.named_parameters():
        if is_hidden_matrix(name, parameter):
            size = (parameter.detach() - before[name]).square().mean().sqrt() / MUON.lr
            assert 0.12 < float(size) < 0.28, name


def test_restored_it_continues_bit_for_bit(tmp_path):
    whole = classifier()
    optimiser = optimiser_of(whole)
    for step in range(3):
        give_gradients(whole, step)
        optimiser.step()
    save_file(optimiser_tensors(whole, optimiser), tmp_path / FILE_NAME)
    resumed = classifier()
    resumed.load_state_dict(whole.state_dict())
    again = optimiser_of(resumed)
    restore_optimiser(tmp_path, resumed, again)
    for step in range(3, 6):
        for model, own in ((whole, optimiser), (resumed, again)):
            give_gradients(model, step)
            own.step()
    for name, parameter in whole.named_parameters():
        assert torch.equal(parameter, resumed.get_parameter(name)), name


def test_the_state_of_another_optimiser_is_refused(tmp_path):
    for one, other in (("adamw", "muon"), ("muon", "adamw")):
        model = classifier()
        optimiser = optimiser_of(model, replace(MUON, name=one))
        give_gradients(model, 0)
        optimiser.step()
        save_file(optimiser_tensors(model, optimiser), tmp_path / FILE_NAME)
        with pytest.raises(CheckpointError, match=r"made with another optim\.name; bring that back, or start again"):
            restore_optimiser(tmp_path, model, optimiser_of(model, replace(MUON, name=other)))


def test_the_forecast_counts_one_moment():
    model = classifier()
    matrices = sum(p.numel() for name, p in model.named_parameters() if is_hidden_matrix(name, p))
    assert state_bytes(model) - state_bytes(model, muon=True) == 4 * matrices > 0


def test_what_has_no_muon_says_what_to_do():
    check_muon(OptimSettings(), RunSettings(framework="jax"))
    check_muon(MUON, RunSettings(sharding="fsdp"))
    with pytest.raises(ConfigError, match=r"run\.framework is jax.*set optim\.name to adamw, or run\.framework to"):
        check_muon(MUON, RunSettings(framework="jax"))
    model = classifier()
    model.beit.requires_grad_(requires_grad=False)
    with pytest.raises(ConfigError, match=r"nothing for it; set optim\.name to adamw"):
        MuonAdamW(parameter_groups(model, 0.1, 1.0, 2), MUON)


@pytest.mark.parametrize("shape", [(24, 16), (16, 24), (16, 16)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_matrices_of_a_shape_are_orthogonalised_together_as_each_alone(shape, dtype):
    torch.manual_seed(0)
    many = torch.randn(5, *shape, dtype=dtype)
    together = _iterated(many)
    alone = torch.stack([_iterated(one) for one in many])
    torch.testing.assert_close(together, alone, atol=2e-2 if dtype == torch.bfloat16 else 1e-5, rtol=0)
    of_torch = torch.stack(
        [torch.optim._muon._zeropower_via_newtonschulz(one, muon._COEFFICIENTS, 5, 1e-7) for one in many]
    )
    torch.testing.assert_close(together, of_torch.to(dtype), atol=6e-2, rtol=0)
    sizes = torch.linalg.svdvals(together.float())
    assert float(sizes.min()) > 0.3
    assert float(sizes.max()) < 1.3


def test_a_gpu_gets_all_matrices_of_a_shape_at_once():
    """Each launch of a small product takes it longer than the product: 42 matrices of two shapes are two groups."""
    matrices = [torch.nn.Parameter(torch.empty(shape, device="meta")) for shape in ((8, 8), (16, 8), (8, 8), (8, 8))]
    groups = _of_one_shape(matrices)
    assert [len(group) for group in groups] == [3, 1]
    assert orthogonalised(groups[0], torch.float32)[2].dtype == torch.bfloat16
    on_cpu = [torch.nn.Parameter(torch.empty(8, 8)) for _ in range(3)]
    assert [len(group) for group in _of_one_shape(on_cpu)] == [1, 1, 1]
    assert orthogonalised([torch.eye(8)], torch.float32)[0].dtype == torch.float32


def test_matrices_of_a_shape_go_together_whatever_their_rates(monkeypatch):
    asked = []
    monkeypatch.setattr(muon, "orthogonalised", lambda matrices, _: asked.append(len(matrices)) or matrices)
    model = classifier().to("meta")
    optimiser = optimiser_of(model, layer_decay=0.5)
    for name, parameter in model.named_parameters():
        parameter.grad = torch.empty_like(parameter) if is_hidden_matrix(name, parameter) else None
    optimiser.step()
    assert sorted(asked) == [2, 2, 8], "of two layers four square matrices each, and one of either other shape"


def test_a_matrix_without_a_gradient_stays():
    model = classifier()
    optimiser = optimiser_of(model)
    give_gradients(model, 0)
    frozen = model.beit.encoder.layer[0].output.dense.weight
    frozen.grad, before = None, frozen.detach().clone()
    optimiser.step()
    assert torch.equal(frozen, before)
    assert frozen not in optimiser.state


@pytest.mark.parametrize("shape", [(32, 64), (64, 32), (48, 48)])
def test_its_operations_are_those_that_torch_counts(shape):
    with FlopCounterMode(display=False) as counter:
        _iterated(torch.randn(shape))
    assert iteration_flops(*shape) == counter.get_total_flops()
