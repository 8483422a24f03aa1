"""Errors about a path say which recipe named it."""

import pytest

from beit.cli.main import main
from beit.cli.recipe_origin import origin_of


@pytest.fixture
def recipe(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = (
        "data: {path: /nowhere/pictures, labels: labels.csv}\nrun: {trackers: [./a, ./b]}\ncheckpoint: runs/x/model\n"
    )
    (tmp_path / "mine.yaml").write_text(text)
    return "mine.yaml"


@pytest.mark.parametrize("words", [["mine.yaml"], ["--recipe", "mine.yaml"], ["--recipe=mine.yaml"]])
def test_the_recipe_is_named(recipe, words):
    said = "data path '/nowhere/pictures' does not exist"
    assert origin_of(said, ["finetune", *words]) == " (data.path of mine.yaml)"
    assert origin_of("runs/x/model/config.json is no JSON", ["finetune", *words]) == " (checkpoint of mine.yaml)"
    assert origin_of("b and ./b", ["finetune", *words]) == " (run.trackers of mine.yaml)"


def test_what_the_command_line_names_is_its_own(recipe):
    said = "data path '/nowhere/pictures' does not exist"
    assert origin_of(said, ["finetune", recipe, "--data.path=/nowhere/pictures"]) == ""
    assert origin_of(said, ["finetune", "--data.path=/nowhere/pictures"]) == ""
    assert origin_of("data path '/elsewhere/nowhere/pictures2' does not exist", ["finetune", recipe]) == ""


@pytest.mark.parametrize("content", ["{", "[1]", "a: &x [*x]", "data: {path: [1, null, {b: 2.5}]}", "a: .\n"])
def test_no_recipe_makes_another_error(recipe, content, tmp_path):
    (tmp_path / recipe).write_text(content)
    assert origin_of("it failed: /nowhere", ["finetune", recipe]) == ""
    assert origin_of("it failed", ["finetune", "absent.yaml", "--recipe"]) == ""


def test_a_command_says_it(recipe, capsys):
    assert main(["pretrain", recipe.replace("mine", "other")]) == 1
    assert "other.yaml" in capsys.readouterr().err
    with open("other.yaml", "w") as file:
        file.write("data: {path: /nowhere/pictures}\n")
    assert main(["pretrain", "other.yaml"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("beit: data path '/nowhere/pictures' does not exist; expected a folder")
    assert said.endswith("hub:owner/name (data.path of other.yaml)\n")


def test_a_recipe_of_another_command_is_named(capsys):
    assert main(["pretrain", "finetune_cifar10_tiny", "--data.path", "pictures"]) == 1
    said = capsys.readouterr().err
    assert "there is no setting" in said
    assert said.endswith(" (finetune_cifar10_tiny is a recipe of `beit finetune`)\n")
    assert main(["finetune", "finetune_cifar10_tiny", "--speling", "1"]) == 1
    assert "is a recipe of" not in capsys.readouterr().err
