"""Origin of a value that an error is about: the recipe that names it, rather than the command line."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from beit.errors import BeitError
from beit.files import read_yaml

RECIPES = (".yaml", ".yml")  # endings
_SHORTEST = 3  # characters of a value that is looked for in a message


def origin_of(message: str, arguments: Sequence[str]) -> str:
    """Return a remark such as ` (data.path of r.yaml)` about a path in a message that a recipe alone names; else "".

    Args:
        message: The error.
        arguments: The command line.
    """
    for recipe in _recipes_among(arguments):
        typed = " ".join(word for word in arguments if word != recipe)
        for name, value in _paths_in(recipe):
            if _holds(message, value) and not _holds(typed.replace("=", " "), value):
                return f" ({name} of {recipe})"
    return ""


def other_command(arguments: Sequence[str], command: str) -> str:
    """Return a remark such as ` (r is a recipe of beit finetune)` about a recipe of the package for another command.

    Args:
        arguments: The command line, with recipes as `--recipe`.
        command: What the user typed, such as "beit pretrain".
    """
    from beit.settings.packaged import recipes

    given = [Path(path) for path in _recipes_among(arguments)]
    others = [recipe for recipe in recipes() if recipe.path in given and recipe.command != command]
    return "".join(f" ({recipe.name} is a recipe of `{recipe.command}`)" for recipe in others)


def _recipes_among(arguments: Sequence[str]) -> Iterator[str]:
    from beit.settings.packaged import recipe_file

    for place, word in enumerate(arguments):
        option, _, named = word.partition("=")
        named = named or (arguments[place + 1] if option == word == "--recipe" and arguments[place + 1 :] else "")
        found = named if option == "--recipe" else word if word.endswith(RECIPES) and word[0] != "-" else ""
        if found:
            try:
                yield str(recipe_file(found))
            except BeitError:
                continue


def _paths_in(recipe: str) -> Iterator[tuple[str, str]]:
    try:
        found = read_yaml(recipe, "a recipe", "correct it")
    except BeitError:
        return
    yield from _texts("", found)


def _texts(prefix: str, settings: Any) -> Iterator[tuple[str, str]]:
    """Yield the dotted names and the values of settings that are paths, or names of models."""
    if isinstance(settings, Mapping):
        for name, value in settings.items():
            yield from _texts(f"{prefix}.{name}" if prefix else str(name), value)
    elif isinstance(settings, list):
        for value in settings:
            yield from _texts(prefix, value)
    elif isinstance(settings, str) and len(settings) >= _SHORTEST and ("/" in settings or "." in settings):
        yield prefix, settings


def _holds(text: str, value: str) -> bool:
    """Return whether a text names a path, or a file below it."""
    named = {value, value.rstrip("/"), str(Path(value))}
    return any(re.search(rf"(?<![\w./-]){re.escape(one)}(?![\w-])", text) for one in named if one)
