"""Options of predictor tasks, described once for Python, the command line and forms of the service."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from functools import cache
from numbers import Integral
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from beit.errors import ConfigError

Place = tuple[int, int]  # the row and column of a patch, from the top and the left
Layers = int | str | tuple[int | str, ...] | None  # one layer or several: numbers, "best" and "last"


@dataclass(frozen=True)
class Limits:
    """Range of a number; None: no limit.

    Attributes:
        least: Smallest value.
        above: Value that it exceeds.
        most: Largest value.
    """

    least: float | None = None
    above: float | None = None
    most: float | None = None

    def allow(self, value: float) -> bool:
        """Return whether a number is in range; NaN is in none."""
        return (
            (self.least is None or value >= self.least)
            and (self.above is None or value > self.above)
            and (self.most is None or value <= self.most)
        )

    def __str__(self) -> str:
        """Return the range in words, such as "a number above 0, at most 1"."""
        words = [
            None if self.least is None else f"at least {self.least:g}",
            None if self.above is None else f"a number above {self.above:g}",
            None if self.most is None else f"at most {self.most:g}",
        ]
        return ", ".join(word for word in words if word)


class Local:
    """Mark of an option that no client of a service may choose: it names files, or its cost has no bound."""


@dataclass(frozen=True)
class Option:
    """One option of a task.

    Attributes:
        name: Its name.
        kind: Its type.
        default: Its value if it is not given.
        about: A line for the help and the OpenAPI description.
        limits: Its range, of a number.
        local: Whether it is an option of Python and the command line alone, not of a service.
    """

    name: str
    kind: Any
    default: Any
    about: str
    limits: Limits | None
    local: bool

    def check(self, value: Any) -> None:
        """Refuse a number out of range, and anything else for a whole number.

        Raises:
            ConfigError: If it is.
        """
        whole: Any = Integral  # also numpy's
        if self.kind is int and not isinstance(value, whole):
            raise ConfigError(f"{self.name} is {value!r}; expected a whole number")
        if self.limits is not None and not self.limits.allow(value):
            raise ConfigError(f"{self.name} is {value}; expected {self.limits}")


def as_place(name: str, value: Any) -> Place | None:
    """Return two whole numbers, of any type that holds such, as a row and a column; None stays.

    Raises:
        ConfigError: If they are others.
    """
    if value is None:
        return None
    whole: Any = Integral  # also numpy's
    numbers = tuple(value) if isinstance(value, Iterable) else (value,)
    if len(numbers) != 2 or not all(isinstance(number, whole) for number in numbers):
        raise ConfigError(f"{name} is {value}; expected two whole numbers, a row and a column, such as (3, 4)")
    return int(numbers[0]), int(numbers[1])


@dataclass(frozen=True)
class TaskOptions:
    """Options of a task without any; the base of all others.

    A field is annotated with its limits, if it has some, and a line about it:
    `top_k: Annotated[int, Limits(least=1), "Classes to name."] = 5`.

    Raises:
        ConfigError: If a number is out of range.
    """

    def __post_init__(self) -> None:
        """Check every option."""
        for option in described(type(self)):
            option.check(getattr(self, option.name))

    @classmethod
    def of(cls, task: str, **given: Any) -> TaskOptions:
        """Return the options of a task from their names.

        Raises:
            ConfigError: If there is no such option, or a number is out of range.
        """
        known = [option.name for option in described(cls)]
        for name in given:
            if name not in known:
                raise ConfigError(f"{task} has no option {name!r}; expected {' or '.join(known) or 'none'}")
        return cls(**given)


@cache
def described(options: type[TaskOptions]) -> tuple[Option, ...]:
    """Return the options of a task, in the order of their fields."""
    hints = get_type_hints(options, include_extras=True)
    return tuple(_option(field.name, hints[field.name], field.default) for field in fields(options))


def _option(name: str, hint: Any, default: Any) -> Option:
    if get_origin(hint) is not Annotated:
        raise TypeError(f"the option {name} is annotated {hint}; expected Annotated[type, limits, a line about it]")
    kind, *notes = get_args(hint)
    about = next(note for note in notes if isinstance(note, str))
    limits = next((note for note in notes if isinstance(note, Limits)), None)
    return Option(name, kind, default, about, limits, Local in notes)
