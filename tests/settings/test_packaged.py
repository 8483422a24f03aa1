"""Recipes and lists of classes of the package: found by name, from everywhere, in a checkout and in a wheel."""

import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

from beit.cli.parser import parse_job
from beit.errors import ConfigError
from beit.hub import included_names
from beit.settings.finetune import FinetuneJob
from beit.settings.packaged import FOLDER, class_file, recipe_file, recipe_named, recipes

ROOT = Path(__file__).parents[2]


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", ["linear_probe", "linear_probe.yaml", "recipes/linear_probe.yaml"])
def test_a_recipe_is_found_from_any_folder(elsewhere, name):
    assert recipe_file(name) == FOLDER / "linear_probe.yaml"
    job = parse_job(FinetuneJob, "beit finetune", "", [name, "--data.path=pictures"])
    assert job.run.output == "runs/linear_probe"
    assert job == parse_job(FinetuneJob, "beit finetune", "", ["--recipe", name, "--data.path=pictures"])


def test_a_file_of_that_name_wins(elsewhere):
    Path("linear_probe.yaml").write_text("run: {output: mine}\n")
    assert recipe_file("linear_probe.yaml") == Path("linear_probe.yaml")
    assert parse_job(FinetuneJob, "beit finetune", "", ["linear_probe.yaml", "--data.path=p"]).run.output == "mine"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("finetune_cifar10_tny", "did you mean finetune_cifar10_tiny"),
        ("recipes/none.yaml", "there is no recipe 'recipes/none.yaml'; expected a YAML file, or a name"),
        ("other/linear_probe.yaml", "there is no recipe 'other/linear_probe.yaml'; did you mean linear_probe"),
        ("linear_probe.txt", "did you mean linear_probe"),
        ("..", "expected a YAML file"),
    ],
)
def test_another_name_is_answered_with_the_nearest(elsewhere, name, message):
    with pytest.raises(ConfigError, match=message):
        recipe_file(name)


def test_a_folder_in_the_place_of_a_recipe_is_answered_with_the_setting(elsewhere):
    Path("my_classes").mkdir()
    Path("model").mkdir()
    Path("model/config.json").touch()
    with pytest.raises(ConfigError, match=r"my_classes/ is a folder; .* name pictures by --data\.path my_classes/"):
        parse_job(FinetuneJob, "beit finetune", "", ["my_classes/"])
    with pytest.raises(ConfigError, match=r"model is a folder; .* name a model by --model model$"):
        recipe_file("model")


def test_every_recipe_says_what_it_is_and_which_command_takes_it():
    for recipe in recipes():
        assert recipe.about.endswith("."), recipe.name
        assert recipe.command.removeprefix("beit ") in (
            "pretrain", "finetune", "segment", "tokenizer train", "tokenizer distill", "tokenizer cluster"
        ), recipe.name  # fmt: skip
    assert recipe_named("kmeans_cifar10").command == "beit tokenizer cluster"


def test_classes_are_found_by_name_unless_a_file_is_called_so(elsewhere):
    assert class_file("ade20k") == class_file("recipes/classes/ade20k.txt") == str(FOLDER / "classes/ade20k.txt")
    assert class_file("mine.txt") == "mine.txt"
    assert class_file("other/ade20k.txt") == "other/ade20k.txt"
    Path("cityscapes").mkdir()  # as the pictures of that name are often kept
    assert class_file("cityscapes") == str(FOLDER / "classes/cityscapes.txt")
    Path("ade20k").write_text("a\nb\n")
    assert class_file("ade20k") == "ade20k"


@pytest.mark.e2e
def test_a_wheel_holds_them(tmp_path):
    pytest.importorskip("hatchling")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "installed")
    code = (
        "import beit; from beit.settings.packaged import FOLDER, recipes; from beit.hub import included_names;"
        "print(FOLDER); print(len(recipes()), (FOLDER / 'classes/ade20k.txt').is_file(), included_names())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True, text=True, check=True, cwd=tmp_path, env={"PYTHONPATH": str(tmp_path / "installed")},
    )  # fmt: skip
    folder, content = done.stdout.splitlines()
    assert folder == str(tmp_path / "installed/beit/recipes")
    assert content == f"{len(recipes())} True {included_names()}"
