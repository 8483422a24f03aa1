"""Recipes and lists of classes that the package brings: found by name, in a wheel as in a checkout."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from pathlib import Path

from beit.config import CONFIG_NAME
from beit.errors import ConfigError

# A wheel holds them inside the package; in a checkout they lie beside its source, where people read them.
_PLACES = (Path(__file__).parents[1] / "recipes", Path(__file__).parents[3] / "recipes")
FOLDER = next((place for place in _PLACES if place.is_dir()), _PLACES[0])
_ENDINGS = ("", ".yaml", ".yml")


@dataclass(frozen=True)
class Recipe:
    """Recipe of the package.

    Attributes:
        name: What it is found by.
        path: Its file.
    """

    name: str
    path: Path

    @property
    def text(self) -> str:
        """Its content."""
        return self.path.read_text(encoding="utf-8")

    @property
    def about(self) -> str:
        """The first paragraph of its comment."""
        return " ".join(line.removeprefix("#").strip() for line in self.text.split("\n#\n")[0].splitlines())

    @property
    def command(self) -> str:
        """The command that takes it, such as "beit pretrain"."""
        found = re.search(rf"(beit [a-z ]+?) recipes/{self.name}\.yaml", self.text)
        return found[1] if found else "beit"


def recipes() -> list[Recipe]:
    """Return all recipes of the package, by name."""
    return [Recipe(path.stem, path) for path in sorted(FOLDER.glob("*.yaml"))]


def recipe_named(name: str) -> Recipe:
    """Return the recipe of a name, which may be written as its file: "recipes/NAME.yaml".

    Raises:
        ConfigError: If the package has none of this name.
    """
    known = {recipe.name: recipe for recipe in recipes()}
    place = Path(name)
    if place.parent in (Path(), Path("recipes")) and place.suffix in _ENDINGS and place.stem in known:
        return known[place.stem]
    if place.is_dir():
        setting = "a model by --model" if (place / CONFIG_NAME).is_file() else "pictures by --data.path"
        raise ConfigError(
            f"{name} is a folder; expected a YAML file, or a name that `beit recipes` lists, as the first word: name "
            f"{setting} {name}"
        )
    near = difflib.get_close_matches(place.stem, known, n=1, cutoff=0.5)
    raise ConfigError(
        f"there is no recipe {name!r}{f'; did you mean {near[0]}?' if near else ''}; expected a YAML file, or a name "
        "that `beit recipes` lists"
    )


def recipe_file(name: str) -> Path:
    """Return the file of a recipe: one on this machine, or the one that the package has under this name.

    Raises:
        ConfigError: If there is neither.
    """
    return Path(name) if Path(name).is_file() else recipe_named(name).path


def class_file(name: str) -> str:
    """Return the file of a list of classes: one on this machine, or the one that the package has, such as "ade20k"."""
    own = FOLDER / "classes" / f"{Path(name).stem}.txt"
    listed = Path(name).parent in (Path(), Path("recipes/classes")) and own.is_file()
    return str(own) if listed and not Path(name).is_file() else name
