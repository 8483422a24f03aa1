"""Checkpoints of a run, and the optimiser in them."""

import json
import shutil
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from beit.engine import checkpoints, processes
from beit.engine.checkpoints import latest_checkpoint, restore_module, save_checkpoint, shared_checkpoint
from beit.engine.optimiser import optimiser_tensors, restore_optimiser
from beit.engine.run_folder import RunFolder
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
    path = save_checkpoint(tmp_path, 5, writes(moments), whole, keep=2, identity={"pictures": 9})
    resumed.load_state_dict(whole.state_dict())
    again = torch.optim.AdamW(resumed.parameters(), lr=0.1)
    assert restore_module(path, resumed, {"pictures": 9}) == 5
    restore_optimiser(path, resumed, again)
    trained_steps(whole, optimiser, 5, first=5)
    trained_steps(resumed, again, 5, first=5)
    assert torch.equal(whole.weight, resumed.weight)


def test_only_the_newest_checkpoints_stay(tmp_path):
    model = nn.Linear(1, 1)
    assert latest_checkpoint(tmp_path) is None
    for step in (5, 10, 100):
        save_checkpoint(tmp_path, step, writes({}), model, keep=2, identity={})
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["step_00000010", "step_00000100"]
    assert latest_checkpoint(tmp_path).name == "step_00000100"


def test_copies_of_checkpoints_are_nobodys(tmp_path):
    """Someone keeps one under a name of their own: it is not continued, counted or removed."""
    run, model = RunFolder(tmp_path), nn.Linear(1, 1)
    save_checkpoint(run.checkpoints, 5, writes({}), model, keep=1, identity={})
    for name in ("step_00000005.bak", "step_00000009 (copy)", "step_old", "step_"):
        shutil.copytree(run.checkpoints / "step_00000005", run.checkpoints / name)
    assert (run.last_step, latest_checkpoint(run.checkpoints).name) == (5, "step_00000005")
    save_checkpoint(run.checkpoints, 100_000_000, writes({}), model, keep=1, identity={})
    assert run.last_step == 100_000_000
    kept = {"step_00000005.bak", "step_00000009 (copy)", "step_old", "step_", "step_100000000"}
    assert {path.name for path in run.checkpoints.iterdir()} == kept
    save_checkpoint(run.checkpoints, 99, writes({}), model, keep=1, identity={})
    assert run.last_step == 100_000_000, "later ones are left alone"


def test_damaged_checkpoints_are_named(tmp_path):
    model = nn.Linear(3, 2)
    optimiser = torch.optim.AdamW(model.parameters())
    trained_steps(model, optimiser, 1)
    moments = optimiser_tensors(model, optimiser)
    path = save_checkpoint(tmp_path, 1, writes(moments), model, keep=1, identity={"pictures": 9})
    with pytest.raises(CheckpointError, match=r"has no state for 0\.weight; it belongs to another model"):
        restore_optimiser(path, nn.Sequential(nn.Linear(3, 2)), optimiser)
    with pytest.raises(CheckpointError, match=r"weight/exp_avg is \(2, 3\), the model has \(4, 3\)"):
        restore_optimiser(path, nn.Linear(3, 4), optimiser)
    with pytest.raises(CheckpointError, match="was made with 9 pictures and now there is 8"):
        restore_module(path, model, {"pictures": 8})
    (path / "state.json").write_text("{}")
    with pytest.raises(CheckpointError, match="is damaged"):
        restore_module(path, model, {})


def test_other_pictures_are_refused_and_a_few_that_were_repaired_are_not(tmp_path):
    sample, alone = [f"{number}" for number in range(40)], ["all shards"]
    path = save_checkpoint(tmp_path, 1, writes({}), nn.Linear(1, 1), 1, {"pictures": 99, "sampled": [sample, alone]})

    def restored(*now):
        return restore_module(path, nn.Linear(1, 1), {"pictures": 99, "sampled": list(now)})

    assert restored(sample, alone) == restored(["x"] * 4 + sample[4:], alone) == 1
    with pytest.raises(
        CheckpointError, match=r"was made with other pictures, or other label maps: of 40 that were .* 5"
    ):
        restored(["x"] * 5 + sample[5:], alone)
    with pytest.raises(CheckpointError, match="of 1 that were compared 1 are not as they were; bring the former back"):
        restored(sample, ["others"])
    with pytest.raises(CheckpointError, match="of 3 that were compared 40 are not"):
        restored(sample[::-1][:3], alone)
    state = json.loads((path / "state.json").read_text())
    (path / "state.json").write_text(json.dumps({**state, "sampled": [1]}))
    with pytest.raises(CheckpointError, match="is damaged"):
        restored(sample, alone)
    (path / "state.json").write_text(json.dumps({**state, "sampled": None}))
    assert restored(["of an earlier version"]) == 1


def test_a_checkpoint_of_another_version_is_refused_in_one_line(tmp_path):
    path = save_checkpoint(tmp_path, 1, writes({}), nn.Linear(1, 1), keep=1, identity={})
    state = json.loads((path / "state.json").read_text())
    assert state.pop("format") > 1
    (path / "state.json").write_text(json.dumps(state))
    with pytest.raises(CheckpointError, match=r"another version of beit \(format None, expected .*another run\.output"):
        latest_checkpoint(tmp_path)


class TestManyProcesses:
    @pytest.fixture
    def ranks(self, monkeypatch):
        """Return a call that finds the checkpoint on every rank, and the files hashed by each."""

        def find(folder, there=True):
            sent, hashed, found = [], [], []
            monkeypatch.setattr(checkpoints, "_sha256", lambda path: hashed.append(path) or "")

            def broadcast(values):
                values[:] = sent or values
                sent[:] = values

            monkeypatch.setattr(processes, "broadcast_object_list", broadcast)
            for rank in range(3):
                if rank == 1 and not there:
                    shutil.rmtree(folder)
                main = SimpleNamespace(num_processes=3, is_main_process=rank == 0, process_index=rank)
                try:
                    found.append(shared_checkpoint(folder, main))
                except CheckpointError as error:
                    found.append(str(error))
            return found, hashed

        return find

    def test_one_verifies_for_all(self, ranks, tmp_path):
        path = save_checkpoint(tmp_path, 1, writes({}), nn.Linear(1, 1), keep=1, identity={})
        state = json.loads((path / "state.json").read_text())
        state["sha256"] = dict.fromkeys(state["sha256"], "")
        (path / "state.json").write_text(json.dumps(state))
        found, hashed = ranks(tmp_path)
        assert found == [path] * 3
        assert len(hashed) == len(set(hashed)) > 0

    def test_none_at_all(self, ranks, tmp_path):
        assert ranks(tmp_path)[0] == [None] * 3

    def test_all_learn_that_it_is_damaged(self, ranks, tmp_path):
        save_checkpoint(tmp_path, 1, writes({}), nn.Linear(1, 1), keep=1, identity={})
        assert set(ranks(tmp_path)[0]) == {
            f"all checkpoints in {tmp_path} are damaged; restore one, or remove the folder"
        }

    def test_a_machine_that_does_not_see_it(self, ranks, tmp_path):
        path = save_checkpoint(tmp_path, 1, lambda folder: None, nn.Module(), keep=1, identity={})
        found, _ = ranks(tmp_path, there=False)
        assert found[0] == path
        assert found[1] == (
            f"process 0 continues from {path}, which process 1 does not see; expected a run.output that all machines "
            "share"
        )
