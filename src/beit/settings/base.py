"""Base of all settings, and their form as YAML.

What a group leaves out is the default of its job, in Python as in a recipe.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import asdict, fields, is_dataclass, replace
from typing import Any, Self, cast

import yaml
from pydantic import ConfigDict, model_validator
from pydantic.dataclasses import dataclass
from pydantic_core import ArgsKwargs

from beit.errors import shortened

STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)
_WRITTEN = ("output", "destination", "predictions", "report")  # settings with the path of what a job writes
_VARIABLE = re.compile(r"\$(?:(?P<name>\w+)|\{(?P<braced>\w+)\})")
# groups of settings of what is off by itself, with those that turn it on
_SWITCHES = {
    "lora": ("rank",),
    "rand_augment": ("operations",),
    "mixing": ("mixup", "cutmix"),
    "hard_pixels": ("confidence",),
    "aggregation": ("early_layer",),
}
_MOST_BYTES = 230  # of a name; file systems take 255, and names of unfinished files are longer


@dataclass(frozen=True, config=STRICT)
class Settings:
    """Settings of a job, or a group of them.

    A group remembers which of its settings it was given. When it becomes part of a job, the others are those of the
    group that the job has by itself: `FinetuneJob(data, optim=OptimSettings(lr=1e-3))` has the layer-wise decay of
    fine-tuning. A group that is part of a job has all of its settings, and keeps them in any other job.
    """

    __slots__ = ("_noted",)  # names of the settings that were given; not in __dict__, which parsers list

    @model_validator(mode="wrap")
    @classmethod
    def _complete(cls, value: Any, make: Callable[[Any], Self]) -> Self:
        """Make the settings, note which were given, and complete the groups among them."""
        made, kind = make(value), cast("Any", cls)
        for name in kind.__pydantic_fields__:
            object.__setattr__(made, name, _from_home(getattr(made, name)))
        _check_texts({name: getattr(made, name) for name in kind.__pydantic_fields__})
        if not isinstance(value, ArgsKwargs | dict):  # settings that were made before
            return made
        object.__setattr__(made, "_noted", _given(cls, value))
        for name, field in kind.__pydantic_fields__.items():
            group = getattr(made, name)
            if isinstance(group, Settings):
                own = group if field.is_required() else field.get_default(call_default_factory=True)
                object.__setattr__(made, name, group._or_else(own))
        return made

    def _or_else(self, others: Any) -> Self:
        """Return these settings with the values of `others` where none were given."""
        every = [field.name for field in fields(self)]  # copies have forgotten what was given
        given = getattr(self, "_noted", every)
        left = {name: getattr(others, name) for name in every if name not in given}
        return replace(self, **left)

    def __getstate__(self) -> dict[str, Any]:
        """Return the settings alone: frozen instances cannot be given slots by pickle."""
        return self.__dict__


def _from_home(value: Any) -> Any:
    """Return a path, or each of a list, with the home folder in the place of its `~`, which shells leave in `--a=~/b`.

    Left as it is, it would be the name of a folder, made in the current one.
    """
    if isinstance(value, list | tuple):
        return type(value)(map(_from_home, value))
    return os.path.expanduser(value) if isinstance(value, str) and value.startswith("~/") else value


def _check_texts(values: dict[str, Any]) -> None:
    """Refuse texts that no file system takes, before hours of work have nowhere to go, or where nobody looks for it.

    Raises:
        ValueError: If one holds a NUL, or what is written has no name, one that its shell or its file has spoilt, or
            one of more bytes than there may be.
    """
    for name, value in values.items():
        if not isinstance(value, str):
            continue
        if "\0" in value:
            raise ValueError(f"{name} is {shortened(value)}; expected text without NUL")
        if name in _WRITTEN:
            _check_written(name, value)
        longest = max(len(part.encode("utf-8", "surrogatepass")) for part in value.replace("\\", "/").split("/"))
        if name in _WRITTEN and longest > _MOST_BYTES:
            raise ValueError(
                f"{name} is {shortened(value)}, a name of {longest} bytes; expected at most {_MOST_BYTES}: shorten it"
            )


def _check_written(name: str, value: str) -> None:
    """Refuse what a shell or a file leaves of a name: it would be taken for one, beside the folder that was meant.

    Raises:
        ValueError: If it is empty, as `$OUT` is where it is not set, ends in a line end, as lines of scripts from
            Windows do, or begins with a variable, which no shell replaces in a recipe.
    """
    if not value.strip():
        raise ValueError(f"{name} is {value!r}, which names nothing; expected a path, or . for the current folder")
    if value != value.strip():
        raise ValueError(
            f"{name} is {value!r}; expected a path without white space or a line end around it: take it away, and save "
            "scripts with the line ends of this system"
        )
    variable = _VARIABLE.match(value)
    if variable is not None and (variable["name"] or variable["braced"]) in os.environ:
        raise ValueError(
            f"{name} is {shortened(value)}, and {variable[0]} is replaced by shells alone; write the path out, or give "
            "it on the command line without single quotes"
        )


def _given(kind: type[Settings], value: ArgsKwargs | dict[str, Any]) -> frozenset[str]:
    """Return the names of the settings that a group was made with."""
    if isinstance(value, dict):
        return frozenset(value)
    names = [field.name for field in fields(kind)]
    return frozenset(names[: len(value.args)]) | frozenset(value.kwargs or {})


def resolved_recipe(job: Any) -> str:
    """Return all settings of a job as YAML, in the order of their definition."""
    return yaml.safe_dump(plain(asdict(job)), sort_keys=False)


def changed_settings(job: Any) -> str:
    """Return the settings of a job that are not the defaults, as YAML with a line per group."""
    changed = _without(plain(asdict(job)), plain(defaults(job)))
    return yaml.safe_dump(changed, sort_keys=False, default_flow_style=None, width=110)


def without_effect(job: Any) -> str | None:
    """Return which settings of a job are set and do nothing, because what they are of is off; None if there are none.

    Whoever sets `lora.alpha` and no rank means an adaptation, and would get a training of all weights.
    """
    usual = defaults(job)
    for name, switches in _SWITCHES.items():
        group: Any = getattr(job, name, None)
        if group is None or any(getattr(group, switch, True) for switch in switches):  # True: a group of another's task
            continue
        idle = [f"{name}.{one}" for one, value in asdict(group).items() if value != usual[name][one]]
        if idle:
            needed = " or ".join(f"{name}.{switch}" for switch in switches)
            return f"{', '.join(idle)} {'has' if len(idle) == 1 else 'have'} no effect: {needed} is not set"
    return None


def plain(value: Any) -> Any:
    """Return settings as YAML knows them: lists instead of tuples."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, tuple | list) else value


def defaults(settings: Any) -> dict[str, Any]:
    """Return the settings of a job as they are by themselves; those without a default are left out."""
    found: dict[str, Any] = {}
    for name, field in type(settings).__pydantic_fields__.items():
        value = getattr(settings, name)
        default = None if field.is_required() else field.get_default(call_default_factory=True)
        if is_dataclass(default) and not isinstance(default, type):
            found[name] = asdict(default)
        elif is_dataclass(value):  # a group that needs some setting, such as data.path
            found[name] = defaults(value)
        elif not field.is_required():
            found[name] = default
    return found


def _without(settings: Any, defaults: Any) -> Any:
    """Return what of a tree of settings differs from another; groups without a difference are left out."""
    changed: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, dict) and isinstance(defaults.get(name), dict):
            if inner := _without(value, defaults[name]):
                changed[name] = inner
        elif name not in defaults or value != defaults[name]:
            changed[name] = value
    return changed
