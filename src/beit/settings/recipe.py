"""Recipes: the settings of a job as YAML."""

from __future__ import annotations

from dataclasses import asdict, is_dataclass
from typing import Any

import yaml


def resolved_recipe(job: Any) -> str:
    """Return all settings of a job as YAML, in the order of their definition."""
    return yaml.safe_dump(plain(asdict(job)), sort_keys=False)


def changed_settings(job: Any) -> str:
    """Return the settings of a job that are not the defaults, as YAML with a line per group."""
    changed = _without(plain(asdict(job)), plain(defaults(job)))
    return yaml.safe_dump(changed, sort_keys=False, default_flow_style=None, width=110)


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
