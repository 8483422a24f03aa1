"""A run goes on with the kernels that it was begun with, whatever is chosen on the machine by then."""

import json

import pytest
import torch

from beit.data import training_batches
from beit.engine import torch_backend
from beit.engine.loop import batch_order, make_backend
from beit.engine.run import build, start
from beit.engine.run_folder import RunFolder
from beit.engine.torch_backend import KERNELS_NAME, restore_choices, save_choices
from beit.errors import CheckpointError
from beit.models_torch.kernels import fastest, products
from beit.settings.finetune import FinetuneJob
from beit.settings.groups import DataSettings, ModelSettings, OptimSettings, RunSettings, TrainSettings
from beit.tasks.finetune.task import FinetuneTask

SIZES = {"hidden_size": 128, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 256}


@pytest.fixture
def machine(monkeypatch):
    """Make it choose anew, and return what it chooses."""

    def become(library):
        ways = fastest.FastestWays(library)
        monkeypatch.setattr(products, "FASTEST", ways)
        monkeypatch.setattr(torch_backend, "FASTEST", ways)
        return ways

    return become


def opened(place):
    job = FinetuneJob(
        run=RunSettings(output=str(place), device="cpu", precision="fp32"),
        data=DataSettings(path="digits:train", workers=0),
        model=ModelSettings(size="tiny", image_size=16, patch_size=4, **SIZES),
        optim=OptimSettings(warmup_steps=0, lr=1e-2),
        train=TrainSettings(max_steps=4, batch_size=32),
    )
    task = start(FinetuneTask(job))
    build(task)
    backend = make_backend(task, RunFolder(place))
    backend.train()
    batches = [
        batch.tensors for batch in training_batches(task.dataset, batch_order(task, 4, 0, 0, 1), task.collate, 0, False)
    ]
    return task, backend, batches


def steps(task, backend, batches, first, last):
    for step in range(first, last):
        backend.step(step, task.prepare(batches[step], step))
    return torch.cat([parameter.detach().flatten() for parameter in task.module.parameters()])


@pytest.mark.e2e
def test_a_run_goes_on_with_its_kernels(machine, tmp_path):
    whole, other = {}, None
    for library in ("torch", "onednn"):
        machine(library)
        whole[library] = steps(*opened(tmp_path / library), 0, 4)
    assert not torch.equal(whole["torch"], whole["onednn"]), "they differ in the last bits, or nothing is tested"
    machine("onednn")
    task, backend, batches = opened(tmp_path / "run")
    steps(task, backend, batches, 0, 2)
    backend.save(2)
    backend.settle()
    other = machine("torch")
    resumed = steps(*opened(tmp_path / "run"), 2, 4)
    assert torch.equal(resumed, whole["onednn"])
    assert set(other.choices().values()) == {"onednn"}


def test_every_process_has_its_own(machine, tmp_path):
    save_choices(tmp_path, [{"linear": "torch"}, {"linear": "onednn"}])
    for process, expected in ((0, "torch"), (1, "onednn"), (2, "torch")):  # there were two
        ways = machine("auto")
        restore_choices(tmp_path, process)
        assert ways.choices() == {"linear": expected}


@pytest.mark.parametrize("stored", ["{", "{}", '{"processes": []}', '{"processes": [3]}'])
def test_a_damaged_file(machine, tmp_path, stored):
    machine("auto")
    (tmp_path / KERNELS_NAME).write_text(stored)
    with pytest.raises(CheckpointError, match="remove the folder"):
        restore_choices(tmp_path, 0)


def test_what_is_stored(tmp_path):
    save_choices(tmp_path, [{"linear": "torch"}])
    assert json.loads((tmp_path / KERNELS_NAME).read_text()) == {"processes": [{"linear": "torch"}]}
