"""`beit completion SHELL`."""

from __future__ import annotations

import contextlib
import io
import json
import shlex
from argparse import ArgumentParser
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from beit.cli.main import COMMANDS
from beit.cli.parser import OPTIONS_FOR_PROGRAMS, parse_job
from beit.errors import missing_extra
from beit.settings.packaged import recipes
from beit.settings.published import CompletionJob

DESCRIPTION = (
    "Print what makes a shell complete the words after `beit`: commands, settings, their values, names of recipes, "
    'and files. bash: eval "$(beit completion bash)" in ~/.bashrc; zsh: beit completion zsh > a folder of '
    "$fpath/_beit; fish: beit completion fish > ~/.config/fish/completions/beit.fish."
)


def run(arguments: Sequence[str]) -> int:
    """Parse, print the script of the shell."""
    job = parse_job(CompletionJob, "beit completion", DESCRIPTION, arguments, ("shell",))
    print(script(job.shell))
    return 0


def script(shell: str) -> str:
    """Return the script that makes a shell complete the words of the command line.

    Raises:
        MissingExtraError: If shtab is not installed.
    """
    try:
        import shtab
    except ModuleNotFoundError:
        raise missing_extra("shtab", "train") from None
    from beit.cli.tokenizer import ACTIONS

    parser = ArgumentParser(prog="beit")
    commands: Any = parser.add_subparsers()
    for name, about in COMMANDS.items():
        command = commands.add_parser(name, help=_plain(about))
        if name == "tokenizer":
            actions: Any = command.add_subparsers()
            for action, what in ACTIONS.items():
                _fill(actions.add_parser(action, help=_plain(what)), ["tokenizer", action], shell, shtab.FILE)
        else:
            _fill(command, [name], shell, shtab.FILE)
    return shtab.complete(parser, shell, preamble=_recipe_functions(shell))


def _fill(parser: ArgumentParser, command: list[str], shell: str, file: Any) -> None:
    """Give a parser the settings of a command, and what stands without a name: recipes and files."""
    for option in _options(command):
        if option["flag"]:
            parser.add_argument(option["option"], action="store_true", help=option["about"])
            continue
        action: Any = parser.add_argument(option["option"], choices=option["values"] or None, help=option["about"])
        if option["files"] and not option["values"]:
            action.complete = file
    words: Any = parser.add_argument("words", nargs="*", help="a recipe, or a file")
    words.complete = {shell: _recipe_call(" ".join(command), shell)} if _recipes(" ".join(command)) else file


def _options(command: list[str]) -> list[dict[str, Any]]:
    """Return the settings of a command, as it lists them for programs."""
    listed = io.StringIO()
    with contextlib.redirect_stdout(listed), contextlib.suppress(SystemExit):
        import_module(f"beit.cli.{command[0]}").run([*command[1:], OPTIONS_FOR_PROGRAMS])
    options = [json.loads(line) for line in listed.getvalue().splitlines()]
    return [{**option, "about": _plain(option["about"])} for option in options]


def _plain(text: str) -> str:
    """Return the first sentence of an account without what argparse or a shell would read as its own."""
    return text.split(". ")[0].rstrip(".").translate(str.maketrans("'\"`[]:%$()", "      " + " " * 4))


def _recipes(command: str) -> list[str]:
    return [recipe.name for recipe in recipes() if recipe.command == f"beit {command}"]


def _recipe_function(command: str) -> str:
    return f"_beit_files_or_recipes_{command.replace(' ', '_')}"


def _recipe_call(command: str, shell: str) -> str:
    return f"({_recipe_function(command)})" if shell == "fish" else _recipe_function(command)


def _recipe_functions(shell: str) -> str:
    """Return the functions of a shell that name the recipes of a command, and files.

    bash's own functions look for "_file" in the name, and then end folders in a slash.
    """
    bodies = {
        "bash": 'compgen -W {names} -- "$1"; compgen -f -- "$1"',
        "zsh": "_alternative {recipes} 'files:file:_files'",
        "fish": "printf '%s\\n' {plain}; __fish_complete_path (commandline -ct)",
    }
    lines: list[str] = []
    for command in dict.fromkeys(recipe.command.removeprefix("beit ") for recipe in recipes()):
        plain = " ".join(_recipes(command))
        body = bodies[shell].format(
            names=shlex.quote(plain), recipes=shlex.quote(f"recipes:recipe:({plain})"), plain=plain
        )
        name = _recipe_function(command)
        lines.append(f"function {name}\n  {body}\nend" if shell == "fish" else f"{name}() {{ {body}; }}")
    return "\n".join(lines)
