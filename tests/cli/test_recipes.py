"""`beit recipes`."""

from beit.cli.main import main
from beit.settings.packaged import FOLDER, recipes
from tests.cli.test_main import error_of


def test_recipes_lists_every_recipe_with_its_command(capsys):
    assert main(["recipes"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if not line.startswith(" ")] == [f"{one.command} {one.name}" for one in recipes()]
    assert main(["recipes", "--plain"]) == 0
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert rows == [[one.name, one.command, one.about] for one in recipes()]


def test_recipes_prints_one(capsys):
    for name in ("pretrain_tiny", "recipes/pretrain_tiny.yaml"):
        assert main(["recipes", name]) == 0
        assert capsys.readouterr().out == (FOLDER / "pretrain_tiny.yaml").read_text()
    assert "did you mean pretrain_tiny?" in error_of(capsys, ["recipes", "pretrain_tine"])
    assert "there is no recipe 'pretrain_tine'" in error_of(capsys, ["pretrain", "pretrain_tine", "--data.path=."])
