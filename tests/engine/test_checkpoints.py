"""Checkpoints of a run, and the optimiser in them."""

import json

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from beit.engine.checkpoints import latest_checkpoint, restore_objective, save_checkpoint
from beit.engine.optimiser import optimiser_tensors, restore_optimiser
from beit.errors import CheckpointError


def trained_steps(model, optimiser, steps, first=0):
    for step in range(first, first + steps):
        torch.manual_seed(step)
        loss = model(torch.randn(4, 3)).square().sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()


def writes(moments):
    return lambda folder: save_file(moments, folder / "optimiser.safetensors")


def test_a_restored_optimiser_continues_bit_for_bit(tmp_path):
    torch.manual_seed(0)
    whole, resumed = nn.Linear(3, 2), nn.Linear(3, 2)
    optimiser = torch.optim.AdamW(whole.parameters(), lr=0.1)
    trained_steps(whole, optimiser, 5)
    moments = optimiser_tensors(whole, optimiser)
    path = save_checkpoint(tmp_path, 5, writes(moments), whole, keep=2, facts={"pictures": 9})
    resumed.load_state_dict(whole.state_dict())
    again = torch.optim.AdamW(resumed.parameters(), lr=0.1)
    assert restore_objective(path, resumed, {"pictures": 9}) == 5
    restore_optimiser(path, resumed, again)
    trained_steps(whole, optimiser, 5, first=5)
    trained_steps(resumed, again, 5, first=5)
    assert torch.equal(whole.weight, resumed.weight)


def test_only_the_newest_checkpoints_stay(tmp_path):
    model = nn.Linear(1, 1)
    assert latest_checkpoint(tmp_path) is None
    for step in (5, 10, 100):
        save_checkpoint(tmp_path, step, writes({}), model, keep=2, facts={})
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["step_00000010", "step_00000100"]
    assert latest_checkpoint(tmp_path).name == "step_00000100"


def test_damaged_checkpoints_are_named(tmp_path):
    model = nn.Linear(3, 2)
    optimiser = torch.optim.AdamW(model.parameters())
    trained_steps(model, optimiser, 1)
    moments = optimiser_tensors(model, optimiser)
    path = save_checkpoint(tmp_path, 1, writes(moments), model, keep=1, facts={"pictures": 9})
    with pytest.raises(CheckpointError, match=r"has no state for 0\.weight; it belongs to another model"):
        restore_optimiser(path, nn.Sequential(nn.Linear(3, 2)), optimiser)
    with pytest.raises(CheckpointError, match=r"weight/exp_avg is \(2, 3\), the model has \(4, 3\)"):
        restore_optimiser(path, nn.Linear(3, 4), optimiser)
    with pytest.raises(CheckpointError, match="was made with 9 pictures and now there is 8"):
        restore_objective(path, model, {"pictures": 8})
    (path / "state.json").write_text("{}")
    with pytest.raises(CheckpointError, match="is damaged"):
        restore_objective(path, model, {})


def test_a_checkpoint_of_another_version_is_refused_in_one_line(tmp_path):
    path = save_checkpoint(tmp_path, 1, writes({}), nn.Linear(1, 1), keep=1, facts={})
    state = json.loads((path / "state.json").read_text())
    assert state.pop("format") > 1
    (path / "state.json").write_text(json.dumps(state))
    with pytest.raises(CheckpointError, match=r"another version of beit \(format None, expected .*another run\.output"):
        latest_checkpoint(tmp_path)
