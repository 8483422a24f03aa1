"""Parser of a command's settings: a recipe, positional words, and dotted options."""

from __future__ import annotations

import json
from argparse import ArgumentError
from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

from jsonargparse import ArgumentParser, Namespace, set_parsing_settings
from pydantic import ValidationError

from beit.cli.help import WHOLE_HELP, HelpFormatter, arrange_help, name_own_settings, options_of, print_short_help
from beit.cli.parser_errors import failed_check, one_line
from beit.cli.recipe_origin import RECIPES, other_command
from beit.errors import ConfigError, as_text, shortened
from beit.files import MisreadNumberError, read_yaml, strict_yaml
from beit.settings.packaged import recipe_file

Job = TypeVar("Job")
_SHORT_HELP = ("-h", "--help")
OPTIONS_FOR_PROGRAMS = "--print_options"
_WITHOUT_VALUE = (*_SHORT_HELP, WHOLE_HELP, OPTIONS_FOR_PROGRAMS, "--print_config")
_TRUTHS = ("true", "false", "True", "False")
_TRUTH_KINDS = (bool, bool | None)  # of settings that may stand alone, which is true


@dataclass(frozen=True)
class Setting:
    """A setting that is known only when the command starts, such as an option of a task.

    Attributes:
        name: Its name.
        kind: Its type.
        default: Its value if it is not given.
        about: A line for the help.
    """

    name: str
    kind: Any
    default: Any
    about: str


class SettingsParser(Generic[Job]):
    """Parser of the settings of one command.

    Args:
        job: A dataclass of settings, explained by the docstrings below them; those that are required come first.
        command: What the user typed, such as "beit pretrain".
        description: First lines of the help.
        words: Settings that words without a name fill, in this order; the last one takes several if it is a tuple.
        flags: What else the command takes, for its usage.
        skip: Fields of the job that are no settings.
        more: Settings that are no fields of the job.
        without_first: Says of the first word whether the first of `words` is left out, because it cannot be it.
    """

    def __init__(
        self,
        job: type[Job],
        command: str,
        description: str,
        words: Sequence[str] = (),
        flags: str = "",
        skip: Sequence[str] = (),
        more: Sequence[Setting] = (),
        without_first: Callable[[str], bool] | None = None,
    ) -> None:
        self._job, self._words, self._flags, self._without_first = job, words, flags, without_first
        set_parsing_settings(docstring_parse_attribute_docstrings=True)
        self._parser = ArgumentParser(
            prog=command,
            description=description,
            formatter_class=HelpFormatter,
            exit_on_error=False,
            allow_abbrev=False,
        )
        self._parser.add_argument(
            "--recipe",
            action="config",
            help="YAML file of settings, or a name of `beit recipes`; --recipe itself may be left out.",
        )
        self._parser.add_argument(WHOLE_HELP, action="help", help="Show every setting.")
        self._parser.add_class_arguments(job, None, skip=set(skip))
        name_own_settings(self._parser)
        if more:
            group = self._parser.add_argument_group("Task")
            for one in more:
                group.add_argument(f"--{one.name}", type=one.kind, default=one.default, help=one.about)
        arrange_help(self._parser)
        self._parser.usage = self._usage(command, flags)

    def job(self, arguments: Sequence[str]) -> Job:
        """Return the settings as a job.

        Args:
            arguments: `[RECIPE] [WORD ...] [--setting VALUE ...]`.

        Raises:
            ConfigError: If a setting is unknown, missing, of the wrong type or out of range, or the recipe cannot be
                read.
        """
        return self.build(self.values(arguments))

    def values(self, arguments: Sequence[str]) -> dict[str, Any]:
        """Return the settings by name, groups as dataclasses.

        Raises:
            ConfigError: As `job`.
        """
        _check_text(arguments)
        named = self._named(arguments)
        if not set(_SHORT_HELP).isdisjoint(named):
            print_short_help(self._parser)
            raise SystemExit(0)
        if OPTIONS_FOR_PROGRAMS in named:
            print(*map(json.dumps, options_of(self._parser, self._words, self._flags)), sep="\n")
            raise SystemExit(0)
        _check_recipes(named, self._groups)
        _check_numbers(named, self._kinds)
        try:
            settings = self._parser.parse_args(named)
        except ArgumentError as error:
            remark = other_command(named, self._parser.prog)
            raise ConfigError(one_line(str(error), self._parser) + remark) from None
        except UnicodeDecodeError as error:
            raise ConfigError(f"the recipe is not UTF-8 text ({error}); save it as such") from None
        finally:
            vars(self._parser).pop("print_config", None)  # asked for in vain, it would be done by the next command
        with self._checked(settings):
            return {name: value for name, value in vars(self._parser.instantiate(settings)).items() if name != "recipe"}

    def build(self, values: Mapping[str, Any]) -> Job:
        """Return a job of some values.

        Raises:
            ConfigError: If one is out of range.
        """
        with self._checked(Namespace(**values)):
            return self._job(**values)

    @property
    def _kinds(self) -> dict[str, Any]:
        """The types of the settings, by their options."""
        return {f"--{action.dest}": getattr(action, "_typehint", None) for action in self._parser._actions}

    @property
    def _groups(self) -> frozenset[str]:
        """The dotted names of the groups of settings."""
        names = [action.dest.split(".") for action in self._parser._actions]
        return frozenset(".".join(parts[:depth]) for parts in names for depth in range(1, len(parts)))

    @contextmanager
    def _checked(self, settings: Namespace) -> Generator[None]:
        """Turn errors of the checks of dataclasses into one line."""
        try:
            yield
        except ValidationError as error:
            raise ConfigError(failed_check(error, settings)) from None
        except TypeError:  # a group that is no mapping, such as `optim: 3`
            raise ConfigError(
                "a group of settings has a plain value; expected `group: {setting: value}` "
                f"({self._parser.prog} {WHOLE_HELP})"
            ) from None

    def _usage(self, command: str, flags: str) -> str:
        """Return the usage, with what is required."""
        several = self._kind(self._words[-1]).startswith("tuple") if self._words else False
        needed = {action.dest for action in self._parser._actions if action.required}
        words = [word.upper() if word in needed else f"[{word.upper()}]" for word in self._words]
        required = [
            f"--{action.dest} {action.dest.split('.')[-1].upper()}"
            for action in self._parser._actions
            if action.required and action.dest not in self._words
        ]
        recipe = [] if self._words else ["[RECIPE]"]  # beside other words it is one of the options
        parts = [command, *recipe, *words[:-1], *(f"{word}{' ...' * several}" for word in words[-1:])]
        return " ".join((*parts, *required, "[--setting VALUE ...]", flags)).rstrip()

    def _kind(self, name: str) -> str:
        """Return the type of a field of the job, as it is written there."""
        return next(str(field.type) for field in fields(self._job) if field.name == name)  # type: ignore[arg-type]

    def _named(self, arguments: Sequence[str]) -> list[str]:
        """Return arguments in which everything has its name: the recipe, words, and what may stand alone as true."""
        truths = {name for name, kind in self._kinds.items() if kind in _TRUTH_KINDS}
        rest, options, words = deque(arguments), list[str](), list[str]()
        while rest:
            word = rest.popleft()
            if word == "--":
                words += rest
                break
            if not word.startswith("-"):
                words.append(word)
            elif word in truths and (not rest or rest[0] not in _TRUTHS):
                options.append(f"{word}=true")
            elif word == "--recipe" and rest:
                options.append(f"--recipe={recipe_file(rest.popleft())}")
            elif "=" in word or word in _WITHOUT_VALUE or not rest:
                options.append(word)
            else:
                options += (word, rest.popleft())
        if words and (not self._words or words[0].endswith(RECIPES)):
            options = [f"--recipe={recipe_file(words.pop(0))}", *options]
        return [*options, *self._filled(words)]

    def _filled(self, words: list[str]) -> list[str]:
        """Return words as the settings that they fill.

        Raises:
            ConfigError: If there are too many.
        """
        named: list[str] = []
        leaves_first = bool(words) and self._without_first is not None and self._without_first(words[0])
        for name in self._words[leaves_first:]:
            if words and name == self._words[-1] and self._kind(name).startswith("tuple"):
                return [*named, f"--{name}={json.dumps(words)}"]
            if words:
                named.append(f"--{name}={words.pop(0)}")
        if words:
            raise ConfigError(f"the word {words[0]!r} has no place; expected {self._parser.usage}")
        return named


def _check_text(arguments: Sequence[str]) -> None:
    """Refuse what no recipe and no record of a job can hold: paths in no encoding.

    Raises:
        ConfigError: Naming the first.
    """
    if strange := next((word for word in arguments if as_text(word) != word), None):
        raise ConfigError(f"{as_text(strange)} is no UTF-8 text; expected text, which a recipe can hold: rename it")


def _check_numbers(named: Sequence[str], kinds: Mapping[str, Any]) -> None:
    """Refuse numbers that the parser would read as YAML 1.1 does, as they are refused in recipes.

    Raises:
        ConfigError: Naming the first.
    """
    for place, word in enumerate(named):
        option, equals, value = word.partition("=")
        if not equals and place + 1 < len(named):
            value = named[place + 1]
        if kinds.get(option) is None or "str" in str(kinds[option]):  # what is text stays as it is
            continue
        try:
            strict_yaml(value)
        except MisreadNumberError as error:
            raise ConfigError(f"{option.removeprefix('--')}: {error}") from None
        except (ValueError, RecursionError):  # what is no YAML is the parser's to refuse
            continue


def _check_recipes(named: Sequence[str], groups: frozenset[str]) -> None:
    """Read the recipes among arguments once within bounds, before the parser does it without any.

    Raises:
        ConfigError: If one is no YAML, has a name twice or what no file of settings has, or a plain value for a group,
            which the parser would take for the path of another file.
    """
    for place, word in enumerate(named):
        option, _, path = word.partition("=")
        path = path or (named[place + 1] if option == word and place + 1 < len(named) else "")
        if option == "--recipe" and Path(path).exists():
            _check_groups(read_yaml(path, "a recipe: settings in YAML", "correct it"), path, groups)


def _check_groups(settings: Mapping[str, Any], path: str, groups: frozenset[str], prefix: str = "") -> None:
    """Refuse a group that is no mapping.

    Raises:
        ConfigError: Naming it.
    """
    for name, value in settings.items():
        if f"{prefix}{name}" not in groups:
            continue
        if not isinstance(value, Mapping):
            raise ConfigError(
                f"{path} has {shortened(value)} for the group {prefix}{name}; expected `group: {{setting: value}}`"
            )
        _check_groups(cast("Mapping[str, Any]", value), path, groups, f"{prefix}{name}.")


def parse_job(
    job: type[Job],
    command: str,
    description: str,
    arguments: Sequence[str],
    words: Sequence[str] = (),
    flags: str = "",
) -> Job:
    """Return the settings of a job; see `SettingsParser`.

    Raises:
        ConfigError: If a setting is unknown, missing, of the wrong type or out of range, or the recipe cannot be read.
    """
    return _parser_of(job, command, description, tuple(words), flags).job(arguments)


@cache
def _parser_of(
    job: type[Job], command: str, description: str, words: tuple[str, ...], flags: str
) -> SettingsParser[Job]:
    """Return the parser of a command: reading the docstrings of all settings takes longer than parsing, so once."""
    return SettingsParser(job, command, description, words, flags)
