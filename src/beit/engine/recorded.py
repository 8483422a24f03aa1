"""Choices for settings that are `auto`, taken from the recipe of the run that continues; imports no framework."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, NamedTuple, TypeVar

from beit.engine.run_folder import RunFolder

AUTO = "auto"
# chosen once for a run, because its numbers depend on them; loading processes are chosen for the machine of the day
_KEPT = (
    "optim.lr", "optim.warmup_epochs", "run.precision", "run.exact", "train.compile", "augment.device", "mask.count",
    "mask.min_block",
)  # fmt: skip

Job = TypeVar("Job", bound=Any)


class Choice(NamedTuple):
    """The value that a setting has instead of `auto`.

    Attributes:
        setting: Its dotted name.
        value: Its value.
        reason: Why, in a few words.
    """

    setting: str
    value: Any
    reason: str


def as_before(settings: Job) -> Job:
    """Return the settings of a run with what was chosen for those that are `auto` when it began.

    Raises:
        ConfigError: If the recipe in the run folder is damaged.
    """
    folder = RunFolder(settings.run.output)
    if not folder.begun:
        return settings
    recipe, kept = folder.read_recipe(), list[Choice]()
    for setting in _KEPT:
        group, name = setting.split(".")
        if not hasattr(settings, group):  # a fit without steps has no rate
            continue
        before = recipe.get(group)
        value = before.get(name, AUTO) if isinstance(before, dict) else AUTO
        if value != AUTO:
            kept.append(Choice(setting, value, "as the run began"))
    return chosen(settings, kept)


def chosen(settings: Job, choices: Iterable[Choice]) -> Job:
    """Return settings with choices in the place of `auto`; what is not `auto` stays."""
    for setting, value, _ in choices:
        group, name = setting.split(".")
        before = getattr(settings, group)
        if getattr(before, name, None) == AUTO:
            settings = replace(settings, **{group: replace(before, **{name: value})})
    return settings
