"""Settings as a recipe."""

from beit.settings.groups import DataSettings
from beit.settings.pretrain import PretrainJob
from beit.settings.recipe import resolved_recipe


def test_recipes_are_plain_yaml_and_complete():
    recipe = resolved_recipe(PretrainJob(DataSettings("pictures")))
    assert "!!" not in recipe
    assert "  lr: auto\n" in recipe
    assert next(iter(recipe.splitlines())) == "data:"
