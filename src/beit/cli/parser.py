"""Settings from a recipe and from dotted options, with errors that fit on one line."""

from __future__ import annotations

import re
from argparse import SUPPRESS, Action, ArgumentError
from collections.abc import Sequence
from typing import Any, TypeVar

from jsonargparse import ArgumentParser, DefaultHelpFormatter, Namespace, set_parsing_settings
from pydantic import ValidationError

from beit.cli.main import nearest
from beit.errors import ConfigError

Job = TypeVar("Job")

# How jsonargparse says that it does not know a setting: on the command line, in a group, at the top of a recipe.
_UNKNOWN = (
    r"unrecognized arguments: -*(?P<key>[\w.\-]+)",
    r"Group '(?P<group>[^']+)' does not accept option '(?P<key>[^']+)'",
    r"Option '(?P<key>[^']+)' is not accepted",
)

# What settings are called elsewhere, and how they end here.
_ALSO_CALLED = {
    "learning_rate": "lr",
    "batch": "batch_size",
    "max_batch": "batch_size",
    "dtype": "precision",
    "torch_dtype": "precision",
    "per_device_train_batch_size": "batch_size",
    "num_train_epochs": "epochs",
    "steps": "max_steps",
    "num_workers": "workers",
    "output_dir": "output",
    "output_path": "output",
    "input_size": "image_size",
    "img_size": "image_size",
    "drop_path": "drop_path_rate",
    "gradient_accumulation_steps": "accumulate",
    "max_norm": "clip_grad",
}
_WHOLE_GROUP = "Path to a configuration file."


class _Help(DefaultHelpFormatter):
    """Says types in the words of a recipe: `auto, cpu or cuda`, `tiny, small, base, large or null`."""

    def _get_type_str(self, action: Action) -> str | None:
        said = super()._get_type_str(action)
        if said is None:
            return None
        said = re.sub(r"^Optional\[(.*)\]$", r"\1 | null", said)
        said = re.sub(r"Literal\[(.*?)\]", lambda match: match[1].replace("'", ""), said)
        return re.sub(r"tuple\[(.*?)\]", r"[\1]", said).replace(" | null", " or null")


def parse_job(job: type[Job], command: str, description: str, arguments: Sequence[str], flags: str = "") -> Job:
    """Return the settings of a job.

    Args:
        job: A settings dataclass.
        command: What the user typed, such as "beit pretrain".
        description: First lines of the help.
        arguments: `[RECIPE] [--group.setting VALUE ...]`.
        flags: What else the command takes, for its usage.

    Raises:
        ConfigError: If a setting is unknown, of the wrong type or out of range, or the recipe cannot be read.
    """
    parser = new_parser(
        command, description, usage=f"{command} [RECIPE.yaml] [--group.setting VALUE ...] {flags}".rstrip()
    )
    parser.add_argument("--recipe", action="config", help="YAML file of settings; --recipe itself may be left out.")
    parser.add_class_arguments(job, None)
    for action in parser._actions:
        if action.help == _WHOLE_GROUP:
            action.help = SUPPRESS  # a whole group from a file of its own: works, and only lengthens the help
    settings = parse(parser, _with_recipe_option(arguments))
    try:
        values = vars(parser.instantiate(settings))
        return job(**{name: value for name, value in values.items() if name != "recipe"})
    except ValidationError as error:
        raise ConfigError(_failed_check(error, settings)) from None
    except TypeError:  # a group that is no mapping, such as `optim: 3`
        raise ConfigError(
            f"a group of settings has a plain value; expected `group: {{setting: value}}` ({command} --help)"
        ) from None


def new_parser(command: str, description: str, usage: str | None = None) -> ArgumentParser:
    """Return a parser for one command; settings are explained by the docstrings below them."""
    set_parsing_settings(docstring_parse_attribute_docstrings=True)
    return ArgumentParser(
        prog=command,
        description=description,
        usage=usage,
        formatter_class=_Help,
        exit_on_error=False,
        allow_abbrev=False,
    )


def parse(parser: ArgumentParser, arguments: Sequence[str]) -> Namespace:
    """Parse the arguments of a command.

    Raises:
        ConfigError: If an argument is missing, unknown or of the wrong type.
    """
    try:
        return parser.parse_args(list(arguments))
    except ArgumentError as error:
        raise ConfigError(_one_line(str(error), parser)) from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"the recipe is not UTF-8 text ({error}); save it as such") from None


def _with_recipe_option(arguments: Sequence[str]) -> list[str]:
    """Put --recipe before a recipe that stands alone in the first place."""
    alone = bool(arguments) and not arguments[0].startswith("-")
    return ["--recipe", *arguments] if alone else list(arguments)


def _failed_check(error: ValidationError, settings: Namespace) -> str:
    """Return the first failed check as `group.setting: expectation, got value`."""
    first: Any = error.errors()[0]
    expectation = first["msg"].removeprefix("Value error, ")
    if not first["loc"]:  # a check across several settings names them itself
        return expectation
    name = str(first["loc"][0])
    keys = [key for key, value in settings.items() if key.split(".")[-1] == name and _same(value, first["input"])]
    return f"{' or '.join(keys) or name}: {expectation[0].lower()}{expectation[1:]}, got {first['input']!r}"


def _same(value: Any, given: Any) -> bool:
    return value == given or str(value) == str(given)


def _one_line(message: str, parser: ArgumentParser) -> str:
    """Shorten jsonargparse's message, and name the nearest setting for an unknown one."""
    known = list(parser.get_defaults().keys())
    for pattern in _UNKNOWN:
        if match := re.search(pattern, message):
            groups = match.groupdict()
            key = f"{groups['group']}.{groups['key']}" if groups.get("group") else groups["key"]
            return f"there is no setting {key!r}{_nearest_setting(key, known)} (all settings: {parser.prog} --help)"
    if match := re.search(r'Parser key "([^"]+)":\s*(.*)', message, flags=re.DOTALL):
        return f"{match[1]}: {_type_error(match[2])}"
    return message


def _nearest_setting(key: str, known: Sequence[str]) -> str:
    """Return "; did you mean X?": the setting of the same name in another group, or the one spelled most like it."""
    *groups, last = key.split(".")
    last = _ALSO_CALLED.get(last, last)
    same = [name for name in known if name.split(".")[-1] == last]
    inside = [name for name in same if groups and name.startswith(f"{groups[0]}.")]
    if same:  # the groups of the job itself come before those of its parts: optim.lr, then tokenizer.optim.lr
        return f"; did you mean {min(inside or same, key=lambda name: name.count('.'))}?"
    return nearest(key, known)


def _type_error(message: str) -> str:
    """Return jsonargparse's account of a value of the wrong type as `expected this or that, got value`."""
    expected = re.findall(r"Expected an? (.+?)(?=\.? Got value|\n|$)", message)
    given = re.search(r"(?:Got|Given) value: (.*)", message)
    if not expected or given is None:
        return message
    words = [re.sub(r"<class '(\w+)'>", r"\1", kind).replace("NoneType", "null") for kind in expected]
    words = [word.replace("typing.Literal[", "one of [") for word in words]
    return f"expected {' or '.join(words)}, got {given[1]}"
