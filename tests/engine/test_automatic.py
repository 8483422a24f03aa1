"""Settings that are `auto`: chosen when a run begins, the same when it continues."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from beit.data import DeviceViews, KeptPictures, Views, open_source
from beit.engine import automatic
from beit.engine.automatic import choose, choose_for_small_pictures
from beit.engine.recorded import as_before, chosen
from beit.engine.run_folder import RunFolder, prepare_run_folder
from beit.engine.schedule import PRETRAINING, Schedule
from beit.errors import ConfigError
from beit.image import Preprocessing
from beit.settings.groups import AugmentSettings, DataSettings, OptimSettings, RunSettings, TrainSettings
from beit.settings.inputs import Sources, augmentation
from beit.settings.pretrain import PretrainJob

DATA = DataSettings("pictures")
MEMORY = 1297 * 8 * 8 * 3  # of the digits to train on


def task(job, precision="no", device="cpu"):
    accelerator = SimpleNamespace(mixed_precision=precision, device=torch.device(device))
    schedule = Schedule(job.optim, job.train, pictures=1000)
    return SimpleNamespace(
        settings=job, accelerator=accelerator, rate=lambda: PRETRAINING, schedule=schedule, workers=3
    )


def job_in(place, **groups):
    return PretrainJob(DATA, run=RunSettings(output=str(place)), **groups)


@pytest.mark.parametrize(("precision", "named"), [("no", "fp32"), ("bf16", "bf16")])
def test_what_is_auto_is_chosen_with_a_reason(precision, named):
    job = PretrainJob(DATA, train=TrainSettings(batch_size=128))
    rate, warmup, kind, loading = choose(task(job, precision))
    assert rate[:2] == ("optim.lr", 3.75e-4)
    assert rate.reason.startswith("by the square root of the batch from 0.0015 at 2,048 pictures per step")
    assert warmup == ("optim.warmup_epochs", 10, "a tenth of the run, at most 10")
    assert kind == ("run.precision", named, "the faster one here")
    assert loading[:2] == ("data.workers", 3)
    assert "CPUs for this process 1 compute" in loading.reason
    assert choose(task(job, device="cuda"))[2].reason == "what the GPU supports"


def test_what_is_given_is_not_chosen():
    data = DataSettings("pictures", workers=0)
    job = PretrainJob(data, run=RunSettings(precision="fp32"), optim=OptimSettings(lr=1e-3, warmup_epochs=1))
    assert choose(task(job)) == []
    in_steps = replace(job, optim=OptimSettings(lr=1e-3, warmup_steps=5))
    assert choose(task(in_steps)) == []
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
    longer = as_before(replace(job, train=replace(job.train, epochs=20)))
    assert longer.optim.warmup_epochs == begun.optim.warmup_epochs == 10
    other = job_in(tmp_path, optim=OptimSettings(lr=1e-3, warmup_epochs=1))
    assert (as_before(other).optim.lr, as_before(other).optim.warmup_epochs) == (1e-3, 1)


def task_of_digits(keep="auto", device="auto", on="cuda", free=2**33, steps=100, **changes):
    source = open_source("digits:train")
    job = PretrainJob(
        DataSettings("digits:train", keep_decoded=keep), augment=AugmentSettings(device=device, **changes),
        train=TrainSettings(batch_size=64),
    )  # fmt: skip
    views = Views(Preprocessing((16, 16), 16), augmentation(job.augment))
    return SimpleNamespace(
        settings=job, sources=Sources(source, source), accelerator=SimpleNamespace(device=torch.device(on)),
        schedule=SimpleNamespace(steps=steps), keeps_pictures=True, title="pre-training", model_views=lambda: views,
    )  # fmt: skip


@pytest.fixture
def free(monkeypatch):
    def set_free(count):
        monkeypatch.setattr(automatic.psutil, "virtual_memory", lambda: SimpleNamespace(available=count))

    set_free(2**33)
    return set_free


def choices(some):
    return {choice.setting: (choice.value, choice.reason) for choice in choose_for_small_pictures(some)}


def test_small_pictures_are_kept_and_changed_on_a_gpu(free):
    some = task_of_digits()
    assert choices(some) == {
        "data.keep_decoded": (True, "1,297 pictures, decoded once, take 0.2 MiB"),
        "augment.device": ("model", "pictures are small"),
    }
    assert isinstance(some.sources.train, KeptPictures)
    assert not isinstance(some.sources.val, KeptPictures)


def test_on_a_cpu_they_are_kept_alone(free):
    assert list(choices(task_of_digits(on="cpu"))) == ["data.keep_decoded"]
    assert choices(task_of_digits(on="cpu", device="model", keep=True)) == {}, "both were asked for"


@pytest.mark.parametrize(
    ("changed", "count", "reason"),
    [
        ({"steps": 20}, 2**33, "the run sees them 1.0 times"),
        ({}, 3 * MEMORY, "decoded they take about 0.2 MiB, and there is room for 0.2 MiB"),
    ],
)
def test_what_does_not_fit_is_not_kept(free, changed, count, reason):
    free(count)
    some = task_of_digits(**changed)
    assert choices(some) == {
        "data.keep_decoded": (False, reason),
        "augment.device": ("cpu", "pictures are not kept decoded (data.keep_decoded)"),
    }
    assert not isinstance(some.sources.train, KeptPictures)


def test_processes_of_a_machine_share_its_memory(free, monkeypatch):
    free(8 * MEMORY)
    assert choices(task_of_digits())["data.keep_decoded"][0] is True
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert choices(task_of_digits())["data.keep_decoded"][0] is False


def test_what_was_asked_for_and_cannot_be_is_refused(free):
    free(MEMORY)
    with pytest.raises(ConfigError, match=r"keep_decoded is true, and decoded they take about 0\.2 MiB, and there"):
        choices(task_of_digits(keep=True))
    free(2 * MEMORY)
    assert choices(task_of_digits(keep=True))["augment.device"][0] == "model"
    with pytest.raises(ConfigError, match=r"augment.device is model, and pictures are not kept .*; set it to cpu"):
        choices(task_of_digits(keep=False, device="model"))
    with pytest.raises(ConfigError, match=r"augment.device is model, and pictures are turned.*; set it to cpu"):
        choices(task_of_digits(device="model", rotation=5.0))
    scenes = task_of_digits(keep=True)
    scenes.keeps_pictures = False
    with pytest.raises(ConfigError, match=r"keep_decoded is true, and pre-training reads pictures with their label"):
        choices(scenes)


def test_larger_pictures_and_other_changes_stay_with_the_loading_processes(free, monkeypatch):
    assert choices(task_of_digits(rotation=5.0))["augment.device"] == ("cpu", "pictures are turned, slanted or shifted")
    monkeypatch.setattr(automatic, "LONGEST_SIDE", 7)
    assert choices(task_of_digits())["augment.device"] == ("cpu", "a picture has a side of 8 pixels, more than 7")


def test_a_run_goes_on_where_it_changed_pictures(tmp_path):
    """Where pictures are kept is a matter of the day; where they are changed may differ in a bit."""
    job = PretrainJob(DataSettings("pictures"), run=RunSettings(output=str(tmp_path)))
    begun = replace(
        job, augment=replace(job.augment, device="model"), data=replace(job.data, keep_decoded=True)
    )  # fmt: skip
    prepare_run_folder(begun, begun.run)
    (tmp_path / "result.json").write_text("{}")
    again = as_before(job)
    assert (again.augment.device, again.data.keep_decoded) == ("model", "auto")


def test_views_are_made_for_the_longest_side(free):
    from beit.engine.task import Task

    some = task_of_digits(on="cpu", device="model", keep=True)
    choices(some)
    placed = Task.placed(some, some.model_views())
    assert isinstance(placed, DeviceViews)
    assert placed.side == 8
