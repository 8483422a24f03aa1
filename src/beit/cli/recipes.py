"""`beit recipes`."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from beit.cli.parser import parse_job
from beit.settings.inspection import RecipesJob
from beit.settings.packaged import recipe_named, recipes

DESCRIPTION = (
    "List the recipes of the package, which a command takes by name (`beit pretrain pretrain_tiny`), or print one, to "
    "change it: `beit recipes pretrain_tiny > mine.yaml`."
)


def run(arguments: Sequence[str]) -> int:
    """Parse, print the list or one recipe."""
    words = [word.removesuffix(".yaml") for word in arguments]  # a name here, never settings of this command
    job = parse_job(RecipesJob, "beit recipes", DESCRIPTION, words, ("name",))
    if job.name is not None:
        print(recipe_named(job.name).text, end="")
        return 0
    for recipe in recipes():
        if job.plain:
            print("\t".join((recipe.name, recipe.command, recipe.about)))
        else:
            print(f"{recipe.command} {recipe.name}")
            print(textwrap.fill(recipe.about, 110, initial_indent="    ", subsequent_indent="    "))
    return 0
