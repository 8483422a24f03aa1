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

from beit.catalog import published_names
from beit.cli.main import COMMANDS
from beit.cli.parser import OPTIONS_FOR_PROGRAMS, parse_job
from beit.errors import missing_extra
from beit.settings.inspection import CompletionJob
from beit.settings.packaged import recipes

_MODELS = "models"  # what takes the name of a published model
DESCRIPTION = (
    "Print what makes a shell complete the words after `beit`: commands, settings, their values, names of recipes and "
    'models, and files. bash: eval "$(beit completion bash)" in ~/.bashrc; zsh: beit completion zsh > a folder of '
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
    return shtab.complete(parser, shell, preamble=_functions(shell))


def _fill(parser: ArgumentParser, command: list[str], shell: str, file: Any) -> None:
    """Give a parser the settings of a command, and what stands without a name: recipes and files."""
    options = _options(command)
    for option in options:
        if option["flag"]:
            parser.add_argument(option["option"], action="store_true", help=option["about"])
            continue
        action: Any = parser.add_argument(option["option"], choices=option["values"] or None, help=option["about"])
        if option["files"] and not option["values"]:
            action.complete = {shell: _call(_MODELS, shell)} if option["published"] else file
    _fill_words(parser, " ".join(command), [option for option in options if option["word"]], shell, file)


def _fill_words(parser: ArgumentParser, command: str, settings: list[dict[str, Any]], shell: str, file: Any) -> None:
    """Give a parser what stands without a name: the values of a setting, or recipes, names of models and files."""
    if settings and settings[0]["values"]:
        parser.add_argument("words", nargs="*", choices=settings[0]["values"], help=settings[0]["about"])
        return
    words: Any = parser.add_argument("words", nargs="*", help="a recipe, a model, or a file")
    published = any(setting["published"] for setting in settings)
    named = command if command in _words() else _MODELS if published else None
    words.complete = file if named is None else {shell: _call(named, shell)}


def _options(command: list[str]) -> list[dict[str, Any]]:
    """Return the settings of a command, as it lists them for programs."""
    listed = io.StringIO()
    with contextlib.redirect_stdout(listed), contextlib.suppress(SystemExit):
        import_module(f"beit.cli.{command[0]}").run([*command[1:], OPTIONS_FOR_PROGRAMS])
    options = [json.loads(line) for line in listed.getvalue().splitlines()]
    return [
        {**option, "about": _plain(option["about"]), "published": "published" in option["about"]} for option in options
    ]


def _plain(text: str) -> str:
    """Return the first sentence of an account without what argparse or a shell would read as its own."""
    return text.split(". ")[0].rstrip(".").translate(str.maketrans("'\"`[]:%$()", "      " + " " * 4))


def _words() -> dict[str, list[str]]:
    """Return the words that a command, or a setting that names a model, takes beside files."""
    known: dict[str, list[str]] = {_MODELS: published_names()}
    for recipe in recipes():
        known.setdefault(recipe.command.removeprefix("beit "), []).append(recipe.name)
    return {**known, "info": [*published_names(), *(recipe.name for recipe in recipes())]}


def _function(named: str) -> str:
    return f"_beit_files_or_{named.replace(' ', '_')}"


def _call(named: str, shell: str) -> str:
    return f"({_function(named)})" if shell == "fish" else _function(named)


def _functions(shell: str) -> str:
    """Return the functions of a shell that name recipes or models, and files.

    bash's own functions look for "_file" in the name, and then end folders in a slash.
    """
    bodies = {
        "bash": 'compgen -W {names} -- "$1"; compgen -f -- "$1"',
        "zsh": "_alternative {words} 'files:file:_files'",
        "fish": "printf '%s\\n' {plain}; __fish_complete_path (commandline -ct)",
    }
    lines: list[str] = []
    for named, words in _words().items():
        plain = " ".join(words)
        body = bodies[shell].format(names=shlex.quote(plain), words=shlex.quote(f"names:name:({plain})"), plain=plain)
        name = _function(named)
        lines.append(f"function {name}\n  {body}\nend" if shell == "fish" else f"{name}() {{ {body}; }}")
    return "\n".join(lines)
