"""Small pictures are kept where memory allows, and changed on a GPU; a run with either is the run without."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from beit.data import DeviceViews, KeptPictures, Views, open_source
from beit.engine import small_pictures
from beit.engine.recorded import as_before
from beit.engine.run_folder import prepare_run_folder
from beit.engine.small_pictures import choose_for_small_pictures
from beit.errors import ConfigError
from beit.image import Preprocessing
from beit.settings.groups import AugmentSettings, DataSettings, RunSettings, TrainSettings
from beit.settings.inputs import Sources, augmentation
from beit.settings.pretrain import PretrainJob

MEMORY = 1297 * 8 * 8 * 3  # of the digits to train on


def task(keep="auto", device="auto", on="cuda", free=2**33, steps=100, **changes):
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
        monkeypatch.setattr(small_pictures.psutil, "virtual_memory", lambda: SimpleNamespace(available=count))

    set_free(2**33)
    return set_free


def choices(some):
    return {choice.setting: (choice.value, choice.reason) for choice in choose_for_small_pictures(some)}


def test_small_pictures_are_kept_and_changed_on_a_gpu(free):
    some = task()
    assert choices(some) == {
        "data.keep_decoded": (True, "1,297 pictures, decoded once, take 0.2 MiB"),
        "augment.device": ("model", "pictures are small"),
    }
    assert isinstance(some.sources.train, KeptPictures)
    assert not isinstance(some.sources.val, KeptPictures)


def test_on_a_cpu_they_are_kept_alone(free):
    assert list(choices(task(on="cpu"))) == ["data.keep_decoded"]
    assert choices(task(on="cpu", device="model", keep=True)) == {}, "both were asked for"


@pytest.mark.parametrize(
    ("changed", "count", "reason"),
    [
        ({"steps": 20}, 2**33, "the run sees them 1.0 times"),
        ({}, 3 * MEMORY, "decoded they take about 0.2 MiB, and there is room for 0.2 MiB"),
    ],
)
def test_what_does_not_fit_is_not_kept(free, changed, count, reason):
    free(count)
    some = task(**changed)
    assert choices(some) == {
        "data.keep_decoded": (False, reason),
        "augment.device": ("cpu", "pictures are not kept decoded (data.keep_decoded)"),
    }
    assert not isinstance(some.sources.train, KeptPictures)


def test_processes_of_a_machine_share_its_memory(free, monkeypatch):
    free(8 * MEMORY)
    assert choices(task())["data.keep_decoded"][0] is True
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert choices(task())["data.keep_decoded"][0] is False


def test_what_was_asked_for_and_cannot_be_is_refused(free):
    free(MEMORY)
    with pytest.raises(ConfigError, match=r"keep_decoded is true, and decoded they take about 0\.2 MiB, and there"):
        choices(task(keep=True))
    free(2 * MEMORY)
    assert choices(task(keep=True))["augment.device"][0] == "model"
    with pytest.raises(ConfigError, match=r"augment.device is model, and pictures are not kept .*; set it to cpu"):
        choices(task(keep=False, device="model"))
    with pytest.raises(ConfigError, match=r"augment.device is model, and pictures are turned.*; set it to cpu"):
        choices(task(device="model", rotation=5.0))
    scenes = task(keep=True)
    scenes.keeps_pictures = False
    with pytest.raises(ConfigError, match=r"keep_decoded is true, and pre-training reads pictures with their label"):
        choices(scenes)


def test_larger_pictures_and_other_changes_stay_with_the_loading_processes(free, monkeypatch):
    assert choices(task(rotation=5.0))["augment.device"] == ("cpu", "pictures are turned, slanted or shifted")
    monkeypatch.setattr(small_pictures, "LONGEST_SIDE", 7)
    assert choices(task())["augment.device"] == ("cpu", "a picture has a side of 8 pixels, more than 7")


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

    some = task(on="cpu", device="model", keep=True)
    choices(some)
    placed = Task.placed(some, some.model_views())
    assert isinstance(placed, DeviceViews)
    assert placed.side == 8
