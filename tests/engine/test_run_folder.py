from types import SimpleNamespace

import pytest
import yaml
from accelerate import Accelerator

from beit.engine.run_folder import RunFolder, decisive_settings, open_run_folder
from beit.errors import ConfigError, StorageError
from beit.settings.base import changed_settings
from beit.settings.finetune import FinetuneJob
from beit.settings.groups import DataSettings, OptimSettings, RunSettings
from beit.settings.pretrain import PretrainJob
from beit.settings.tokenizer import ClusteringSettings, ClusterJob

DATA = DataSettings("pictures")


@pytest.fixture
def opened(tmp_path):
    """Open a run in a folder."""
    job = PretrainJob(DATA)
    run = SimpleNamespace(output=str(tmp_path), resume=True, force=False)
    return lambda: open_run_folder(job, run, Accelerator(cpu=True))


def test_a_run_killed_while_it_wrote_its_recipe_begins_again(opened, tmp_path):
    (tmp_path / ".recipe.yaml.4711.tmp").write_text("run:\n  outp")
    folder = opened()
    assert [path.name for path in tmp_path.iterdir()] == ["recipe.yaml"]
    assert "output:" in folder.recipe.read_text()


def test_a_slash_at_the_end_of_a_path_is_no_other_setting(tmp_path):
    jobs = [PretrainJob(data=DataSettings(path=path)) for path in ("pictures", "./pictures/", "pictures2")]
    run = SimpleNamespace(output=str(tmp_path), resume=True, force=False)
    open_run_folder(jobs[0], run, Accelerator(cpu=True))
    (tmp_path / "result.json").write_text("{}")
    open_run_folder(jobs[1], run, Accelerator(cpu=True))
    with pytest.raises(ConfigError, match=r"data\.path was 'pictures' and is now 'pictures2'"):
        open_run_folder(jobs[2], run, Accelerator(cpu=True))


@pytest.mark.parametrize(
    ("old", "named"), [("picture: {path: pictures}", "picture"), ("optim: {rate: 0.1, lr: 0.1}", r"optim\.rate")]
)
def test_a_run_of_another_version_is_refused_in_one_line(tmp_path, old, named):
    (tmp_path / "recipe.yaml").write_text(f"{old}\n")
    (tmp_path / "result.json").write_text("{}")
    run = SimpleNamespace(output=str(tmp_path), resume=True, force=True)
    with pytest.raises(ConfigError, match=rf"has unknown settings \({named}\): another command or version") as error:
        open_run_folder(PretrainJob(DATA), run, Accelerator(cpu=True))
    assert "choose another run.output" in str(error.value)
    assert (tmp_path / "recipe.yaml").read_text() == f"{old}\n"


def test_only_settings_that_are_not_the_defaults_are_shown():
    assert yaml.safe_load(changed_settings(PretrainJob(DATA))) == {"data": {"path": "pictures"}}
    job = PretrainJob(data=DataSettings(path="pictures"), optim=OptimSettings(betas=(0.5, 0.6)))
    assert yaml.safe_load(changed_settings(job)) == {"data": {"path": "pictures"}, "optim": {"betas": [0.5, 0.6]}}
    needed = FinetuneJob(data=DataSettings(path="pictures"))
    assert yaml.safe_load(changed_settings(needed))["data"] == {"path": "pictures"}


def test_what_may_change_the_numbers_is_all_but_where_and_how_a_run_is_written():
    job = FinetuneJob(DataSettings(path="./pictures/", workers=3), run=RunSettings(output="a", log_every=7))
    alike = FinetuneJob(DataSettings(path="pictures", workers=4), run=RunSettings(output="b", log_every=9))
    assert decisive_settings(job) == decisive_settings(alike)
    assert decisive_settings(job)["data.path"] == "pictures"
    other = FinetuneJob(DataSettings(path="pictures"), run=RunSettings(device="cpu"))
    assert {name for name, value in decisive_settings(other).items() if value != decisive_settings(job)[name]} == {
        "run.device"
    }


@pytest.mark.parametrize("name", ["notes.txt", ".recipe.yaml", "recipe.yaml.4711.tmp"])
def test_files_of_others_are_left_alone(opened, tmp_path, name):
    (tmp_path / name).write_text("mine")
    with pytest.raises(ConfigError, match="is not empty and holds no run"):
        opened()
    assert (tmp_path / name).read_text() == "mine"


@pytest.mark.parametrize("setting", ["path", "val_path"])
def test_a_run_inside_its_pictures_does_not_begin(tmp_path, setting):
    """The pictures that it shows of itself would count as some to train on, and it could not continue."""
    job = PretrainJob(DataSettings(**{"path": "elsewhere", setting: str(tmp_path)}))
    run = SimpleNamespace(output=str(tmp_path / "run"), resume=True, force=False)
    with pytest.raises(ConfigError, match=r"run\.output .*run lies inside .*; name a folder outside"):
        open_run_folder(job, run, Accelerator(cpu=True))
    assert not list(tmp_path.iterdir())


def test_another_folder_of_its_name_is_not_the_run(tmp_path):
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    folder.check_present()
    folder.path.rename(tmp_path / "moved")
    folder.path.mkdir()  # as a writer that makes missing folders leaves one
    with pytest.raises(StorageError, match=r"run has gone while the run wrote it; .*give it back its name, and"):
        folder.check_present()


def test_broken_pictures_of_an_attempt_without_a_checkpoint_are_forgotten(opened, tmp_path):
    """They may be those of other pictures, for such an attempt begins again with any settings."""
    folder = opened()
    folder.broken.write_text("a is broken\n")
    (folder.checkpoints / "step_00000005").mkdir(parents=True)
    assert opened().broken.exists(), "it continues"
    (folder.checkpoints / "step_00000005").rmdir()
    assert not opened().broken.exists()


@pytest.mark.parametrize("force", [False, True])
def test_a_fit_without_steps_is_not_continued_with_other_settings(tmp_path, force):
    """Nor is it said that force would do so."""
    jobs = [ClusterJob(DATA, clustering=ClusteringSettings(epochs=epochs)) for epochs in (1, 2)]
    run = SimpleNamespace(output=str(tmp_path), resume=True, force=force)
    open_run_folder(jobs[0], run, Accelerator(cpu=True)).write_result({"l2": 0.5})
    with pytest.raises(ConfigError, match=r"epochs was 1 and is now 2\. Use the same settings, or choose another run"):
        open_run_folder(jobs[1], run, Accelerator(cpu=True))
