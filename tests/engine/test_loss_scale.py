"""Scaled losses: the steps of an unscaled run, overflows that are left out, and checkpoints."""

import json

import pytest
import torch
from torch import nn
from torch.amp import GradScaler

from beit.engine.loss_scale import FILE_NAME, LossScale
from beit.engine.muon import adamw
from beit.engine.optimiser import FILE_NAME as MOMENTS_NAME
from beit.engine.optimiser import build_optimiser, optimiser_tensors, restore_optimiser
from beit.errors import CheckpointError
from beit.models_torch.loading import write_safetensors
from beit.settings.groups import OptimSettings


def trained(scaler, factor=1.0, steps=3):
    """Return the weights after some steps, whose loss is multiplied, and what they said."""
    torch.manual_seed(0)
    layer, said = nn.Linear(4, 4), []
    optimiser = adamw([{"params": list(layer.parameters())}], OptimSettings(lr=1e-2))
    scale = None if scaler is None else LossScale(scaler)
    for _ in range(steps):
        loss = layer(torch.ones(2, 4)).square().mean() * factor
        (loss if scaler is None else scaler.scale(loss)).backward()
        if scale is not None:
            scale.unscale(optimiser)
        norm = nn.utils.clip_grad_norm_(layer.parameters(), 0.5)
        values = {"grad_norm": norm}
        if scale is None:
            optimiser.step()
        else:
            values = scale.step(optimiser, norm)
        said.append({name: float(value) for name, value in values.items()})
        optimiser.zero_grad()
    return layer.weight.detach(), said


def scaler_of(scale):
    return GradScaler("cpu", init_scale=scale)


def test_a_scale_changes_nothing():
    plain, without = trained(None)
    scaled, said = trained(scaler_of(1024.0))
    assert torch.equal(scaled, plain)
    assert [one["grad_norm"] for one in said] == [one["grad_norm"] for one in without]
    assert all(one["loss_scale"] == 1024 for one in said)
    assert "loss_scale" not in without[0]


def test_the_scale_is_no_number_that_is_waited_for(monkeypatch):
    monkeypatch.setattr(GradScaler, "get_scale", lambda self: pytest.fail("waits for the GPU"))
    assert trained(scaler_of(1024.0))[1][0]["loss_scale"] == 1024


def test_an_overflow_is_left_out_and_halves_the_scale():
    before, _ = trained(None, steps=0)
    after, said = trained(scaler_of(2.0**127), factor=1e3, steps=2)
    assert torch.equal(after, before)
    assert [one["loss_scale"] for one in said] == [2.0**127, 2.0**126]
    assert [one["grad_norm"] for one in said] == [0, 0]


def test_gradients_that_are_never_finite_are_a_divergence():
    _, said = trained(scaler_of(1.0), factor=float("inf"), steps=2)
    assert said[0]["grad_norm"] == 0
    assert not said[1]["grad_norm"] < float("inf")


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_a_run_whose_first_steps_overflow_goes_on(tmp_path, name):
    layer = nn.Linear(4, 4)

    def new():
        groups = [
            {"params": [part], "lr_scale": 1.0, "decays": False, "weight_decay": 0.0, "hidden": part.dim() == 2}
            for part in layer.parameters()
        ]
        return build_optimiser(groups, OptimSettings(lr=1e-2, name=name))

    optimiser, scale = new(), LossScale(scaler := scaler_of(2.0**127))
    scaler.scale(layer(torch.ones(2, 4)).square().mean() * 1e3).backward()
    scale.unscale(optimiser)
    scale.step(optimiser, nn.utils.clip_grad_norm_(layer.parameters(), 0.5))
    write_safetensors(tmp_path / MOMENTS_NAME, optimiser_tensors(layer, optimiser))
    with_scale = tmp_path / FILE_NAME
    with_scale.write_text(json.dumps(scale.state()))
    again = new()
    restore_optimiser(tmp_path, layer, again)
    assert all(float(state["step"]) == 0 for state in again.state.values() if "step" in state)
    with_scale.unlink()
    if name == "muon":  # nothing explains that there are no moments
        with pytest.raises(CheckpointError, match="has no state for weight"):
            restore_optimiser(tmp_path, layer, new())


def test_a_run_goes_on_with_its_scale(tmp_path):
    (tmp_path / FILE_NAME).write_text(json.dumps(LossScale(scaler_of(4096.0)).state()))
    scaler = scaler_of(2.0)
    LossScale(scaler).load(tmp_path)
    assert scaler.get_scale() == 4096


def test_a_checkpoint_of_another_precision_has_none(tmp_path):
    scaler = scaler_of(2.0)
    LossScale(scaler).load(tmp_path)
    assert scaler.get_scale() == 2


@pytest.mark.parametrize("stored", ["{", "{}", '{"scale": 3}'])
def test_a_damaged_file(tmp_path, stored):
    (tmp_path / FILE_NAME).write_text(stored)
    with pytest.raises(CheckpointError, match="remove the folder"):
        LossScale(scaler_of(2.0)).load(tmp_path)
