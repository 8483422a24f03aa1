"""Settings that are `auto`: chosen when a run begins, the same when it continues."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from beit.engine.automatic import choose
from beit.engine.recorded import as_before, chosen
from beit.engine.run_folder import RunFolder, prepare_run_folder
from beit.settings.groups import DataSettings, OptimSettings, RunSettings, TrainSettings
from beit.settings.pretrain import PretrainJob
from beit.settings.rates import PRETRAINING

DATA = DataSettings("pictures")


def task(job, precision="no", device="cpu"):
    accelerator = SimpleNamespace(mixed_precision=precision, device=torch.device(device))
    return SimpleNamespace(settings=job, accelerator=accelerator, rate=lambda: PRETRAINING, workers=3)


def job_in(place, **groups):
    return PretrainJob(DATA, run=RunSettings(output=str(place)), **groups)


@pytest.mark.parametrize(("precision", "named"), [("no", "fp32"), ("bf16", "bf16")])
def test_what_is_auto_is_chosen_with_a_reason(precision, named):
    job = PretrainJob(DATA, train=TrainSettings(batch_size=128))
    rate, kind, loading = choose(task(job, precision))
    assert rate[:2] == ("optim.lr", 3.75e-4)
    assert rate.reason.startswith("by the square root of the batch from 0.0015 at 2,048 pictures per step")
    assert kind == ("run.precision", named, "the faster one here")
    assert loading[:2] == ("data.workers", 3)
    assert "CPUs for this process 1 compute" in loading.reason
    assert choose(task(job, device="cuda"))[1].reason == "what the GPU supports"


def test_what_is_given_is_not_chosen():
    data = DataSettings("pictures", workers=0)
    job = PretrainJob(data, run=RunSettings(precision="fp32"), optim=OptimSettings(lr=1e-3))
    assert choose(task(job)) == []
    assert chosen(job, choose(task(PretrainJob(DATA)))) == job


@pytest.mark.parametrize("precision", ["no", "bf16"])
def test_a_run_goes_on_with_what_was_chosen(tmp_path, precision):
    job = job_in(tmp_path)
    begun = chosen(job, choose(task(job, precision)))
    prepare_run_folder(begun, begun.run)
    assert as_before(job) == job, "there is nothing to continue"
    RunFolder(tmp_path).write_result({})
    again = as_before(job)
    assert replace(again, data=begun.data) == begun
    assert again.data.workers == "auto", "chosen for the machine of the day"
    assert as_before(replace(job, train=replace(job.train, batch_size=8))).optim.lr == begun.optim.lr
    other = job_in(tmp_path, optim=OptimSettings(lr=1e-3))
    assert as_before(other).optim.lr == 1e-3
